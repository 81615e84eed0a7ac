"""The `batchyard` program: a file a command, each imported only when it is called."""

from batchyard.cli.program import main

__all__ = ["main"]
