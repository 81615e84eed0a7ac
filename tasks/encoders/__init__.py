"""Texts as vectors of their meaning, for models of intents."""
