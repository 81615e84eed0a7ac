"""What goes to the routers of a route chunk, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from core.size import Size
from db.planning import Predicted
from routing.targets import Target


class Asked(NamedTuple):
    """A request that may be called: its body and metadata are JSON."""

    seq: int
    target: Target
    size: Size
    body: bytes
    metadata: str | None


@dataclass(frozen=True, slots=True)
class Foreseen:
    """By seq the lines in the order to ask them in, where a router said so; the requests that
    wait for the plan of the whole job; what is kept of the predictions, and why they were
    followed as they were. `models` are the rows of the models, by route."""

    lines: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    waiting: frozenset[int] = frozenset()
    predicted: Predicted | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, int] = field(default_factory=dict)
