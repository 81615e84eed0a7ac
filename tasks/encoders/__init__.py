"""Texts as vectors of their meaning, for router models."""
