"""What a process tells those who watch it: `/metrics` and its log."""
