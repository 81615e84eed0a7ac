"""Measurements of a whole yard, as a user runs it: `python -m bench`."""
