"""Prompts whose answers have been judged: what a router is trained on, and measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from routing.models.state import Array, Floats


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows are prompts, columns candidates.

    `quality` float32[n, m], 0 to 1, NaN where a candidate was not judged; `cost` float64[n, m],
    US dollars a call, NaN where it is not known. `costs` says what they are: measured, computed
    from `prices`, `assumed` for want of any, or `calls`: 1 for a call to the better of two
    candidates, 0 for one to the other. `responses` has the answers of some candidates.
    `weights` float32[n]: how much a row counts (1 / propensity), None for all the same.
    """

    prompts: Sequence[str]
    metadata: Sequence[Mapping[str, str]]
    candidates: tuple[str, ...]
    quality: Floats
    cost: Array
    costs: Literal["measured", "prices", "assumed", "calls"]
    responses: Mapping[str, Sequence[str]] = field(default_factory=dict)
    weights: Floats | None = None
    told: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, rows: Sequence[int] | Array) -> "Labelled":
        """These rows only, in this order."""
        at = np.asarray(rows, np.int64)
        return Labelled(
            prompts=[self.prompts[row] for row in at],
            metadata=[self.metadata[row] for row in at],
            candidates=self.candidates,
            quality=self.quality[at],
            cost=self.cost[at],
            costs=self.costs,
            responses={name: [texts[row] for row in at] for name, texts in self.responses.items()},
            weights=None if self.weights is None else self.weights[at],
            told=self.told,
        )
