"""Judging answers without I/O: scorers and what they add up to."""
