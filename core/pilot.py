"""What is asked of a pilot, and what it teaches."""

from dataclasses import dataclass
from typing import Any, Final

LEAST_SAMPLE: Final = 20
MOST_SAMPLE: Final = 20_000


@dataclass(frozen=True, slots=True)
class PilotOptions:
    """How many requests are tried on every candidate, and which share of the budget (above 0, at
    most 1) that may come to. Answers are scored beside the column `gold` of the metadata."""

    requests: int
    gold: str
    share: float = 0.2


@dataclass(frozen=True, slots=True)
class Learned:
    """A model's file and what is told of it; the candidates, the best first; whether it is better
    than the one in use; of how many prompts it was made."""

    body: bytes
    info: dict[str, Any]
    ranked: list[str]
    better: bool
    rows: int
