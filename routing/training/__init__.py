"""Training models on judged prompts."""
