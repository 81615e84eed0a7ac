"""Judged prompts in files: told apart, trained on, measured, imported as scores."""
