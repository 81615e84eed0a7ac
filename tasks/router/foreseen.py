"""What goes to the routers of a route chunk, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from core.cascade import Cascade
from core.settings import configured_name
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
    followed as they were. `models` are the rows of the models, by route, and `leasts` from which
    gain on its cascade asks the strong candidate, where the route aims at something."""

    lines: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    waiting: frozenset[int] = frozenset()
    predicted: Predicted | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, int] = field(default_factory=dict)
    leasts: Mapping[str, float] = field(default_factory=dict)

    def way(self, lines: tuple[str, ...], target: Target) -> tuple[tuple[str, ...], Cascade | None]:
        """Whom of these lines a request asks, in order, and what judges their answers. Where a
        cascade goes by a model that is not there, the last candidate is asked: nothing could judge
        the others."""
        cascade = target.cascade
        if cascade is None or cascade.accept != "learned":
            return lines, cascade
        model = self.models.get(target.route)
        if model is None:
            last = configured_name(lines[-1])
            return tuple(line for line in lines if configured_name(line) == last), None
        steps = len({configured_name(line) for line in lines})
        return lines, cascade.by_model(model, steps, self.leasts.get(target.route))
