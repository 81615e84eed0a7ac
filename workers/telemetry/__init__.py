"""`/metrics`: what a process tells those who watch it."""
