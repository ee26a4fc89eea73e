"""Readers of the view: the dumps other tools know."""
