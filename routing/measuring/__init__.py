"""How good a model is, and whether what is asked now is like what it was trained on."""
