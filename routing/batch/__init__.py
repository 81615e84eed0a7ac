"""The whole batch as one decision, in waves."""
