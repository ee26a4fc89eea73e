"""Trackers: scripts and interfaces, each a verdict or a weight."""
