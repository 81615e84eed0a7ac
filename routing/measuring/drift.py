"""Whether what is asked now is like what a model was trained on, and answers as good as foreseen.

The population stability index of two distributions over the same bins: the sum of
(now - then) × ln(now / then) (Siddiqi, Credit Risk Scorecards, 2006). By custom up to 0.1 is
no change to speak of, and above 0.25 the model should be trained again.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from routing.curve import Measured, Numbers, bootstrap

INTENT: Final = "intent"
"""The column of what prompts are about, in the portrait of a model of intents."""
SLIGHT: Final = 0.1
LARGE: Final = 0.25
LEAST_SCORED: Final = 20
_LEAST: Final = 1e-3
_BINS: Final = 10


def portrait(
    prompts: Sequence[str], metadata: Sequence[Mapping[str, str]], columns: Sequence[str]
) -> dict[str, Any]:
    """What later requests are compared with, as JSON: the deciles of the prompts' lengths in
    characters, and the shares of the values of each metadata column."""
    lengths = [len(prompt) for prompt in prompts]
    cuts = np.quantile(lengths, np.linspace(0, 1, _BINS + 1)[1:-1]).tolist() if lengths else []
    edges = sorted(set(cuts))
    return {
        "edges": edges,
        "lengths": _shares(np.searchsorted(edges, lengths).tolist()),
        "tags": {column: _shares([row.get(column, "") for row in metadata]) for column in columns},
    }


def drift(
    then: Mapping[str, Any], prompts: Sequence[str], metadata: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """The index of the lengths, and of each metadata column, of these requests against a
    `portrait`."""
    lengths = np.searchsorted(then["edges"], [len(prompt) for prompt in prompts]).tolist()
    found = {"length": stability(then["lengths"], _shares(lengths))}
    for column, shares in then["tags"].items():
        found[column] = stability(shares, _shares([row.get(column, "") for row in metadata]))
    return found


def stability(then: Mapping[str, float], now: Mapping[str, float]) -> float:
    """The index of two distributions; a share of nothing counts as a thousandth."""
    total = 0.0
    for name in {*then, *now}:
        before, after = max(then.get(name, 0), _LEAST), max(now.get(name, 0), _LEAST)
        total += (after - before) * math.log(after / before)
    return total


@dataclass(frozen=True, slots=True)
class Outcome:
    """Mean quality of answers as it was `foreseen` and `measured`; `gap` is the second less the
    first with its 95 % interval, by bootstrap over answers."""

    answers: int
    foreseen: float
    measured: float
    gap: Measured

    @property
    def verdict(self) -> str:
        """In words: a difference counts where the interval leaves out 0."""
        if self.gap.low <= 0 <= self.gap.high:
            return "as foreseen"
        return "better than foreseen" if self.gap.value > 0 else "worse than foreseen: train again"


def outcome(predicted: Numbers, score: Numbers) -> Outcome | None:
    """Of float64[n] each, NaN where nothing was predicted or scored; None of fewer than
    `LEAST_SCORED` answers that have both."""
    known = ~(np.isnan(predicted) | np.isnan(score))
    if known.sum() < LEAST_SCORED:
        return None
    told, seen = predicted[known], score[known]
    apart = seen - told
    [gap] = bootstrap(len(apart), lambda counts: (float(apart @ counts / counts.sum()),))
    return Outcome(len(apart), float(told.mean()), float(seen.mean()), gap)


def verdict(index: float) -> str:
    """The index in words."""
    if index < SLIGHT:
        return "alike"
    return "somewhat different" if index < LARGE else "different: train again"


def _shares(values: Sequence[Any]) -> dict[str, float]:
    counts = Counter(str(value) for value in values)
    return {name: count / len(values) for name, count in sorted(counts.items())}
