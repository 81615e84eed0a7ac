"""What a worker process tells whoever started it: one line of its log, and its exit codes."""

from typing import Final

SIGNS: Final = "batchyard.signs"
"""The logger of these lines; they are written at every level."""

YARD_OPEN: Final = "the yard is open"
"""In its log, once it is registered and takes tickets. Celery's own "ready" comes earlier."""

CLOCK_RUNS: Final = "the clock runs"
"""In the log of beat, once it rings."""

LOST_LEASE_EXIT: Final = 75
NO_YARD_EXIT: Final = 76
BROKEN_EXIT: Final = 77
