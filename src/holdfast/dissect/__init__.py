"""Captured frames made readable: capture files, the layers of a frame, one line for people, JSON for programs."""
