"""What holds calls back: one limit of one scope (a line, a provider's key, a project).

The limiter names it with every permit that it does not give; whoever asks why a job is slow is
told of it (`db/waits.py`).
"""

from dataclasses import dataclass
from enum import StrEnum


class Limit(StrEnum):
    """Which limit: the rates are a minute's, CALLS are those in flight at once."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    INPUT = "input"
    OUTPUT = "output"
    CALLS = "calls"
    WINDOW = "window"
    """Calls at once, learnt: nobody declared how many the provider takes."""
    PAUSE = "pause"
    """A 429, or a wait that the provider named."""
    SERVER = "server"
    """The limiter's server is away: this process has a share of all limits."""


AT_ONCE = (Limit.CALLS, Limit.WINDOW)


@dataclass(frozen=True, slots=True)
class Brake:
    """`scope` is the key of its buckets; `most` the limit in force, 0 where it has none."""

    scope: str
    what: Limit
    most: float = 0.0
