"""Trying settings: what learners say of rows that they were not fitted on, and what that is worth.

The measure is what counts in the end: the quality that routing by the predictions would get at
each cost (`routing/curve.py`), and not the error of the predictions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import sparse

from routing.curve import Gap, Numbers, apgr
from routing.labelled import Labelled
from routing.models.features import Featurizer
from routing.models.state import Array, Floats
from routing.sweep import Sweep, against_zero, budgets
from routing.training.gram import gram
from routing.training.learners import Fitted, Product, cost_head, folds, logistic, ridge

MOST_TRIED: Final = 5_000  # rows that settings are chosen on: their products fit 0.3 GB
_FEW: Final = 4_000  # rows up to which they are cut into five folds, then into three
_WHOLE: Final = 60  # rows with all scores from which on routing itself is the measure
_POINTS: Final = 30  # prices of a sweep
_FINE: Final = 200  # of one that is looked at by budget


@dataclass(frozen=True, slots=True)
class Learner:
    """One way to predict: the blocks' weights, the kind of fit, how strict it is."""

    blocks: Mapping[str, float]
    kind: str
    penalty: float

    def fit(self, times: Product, quality: Floats, weights: Floats | None) -> Fitted:
        """Fits all candidates."""
        return _FITS[self.kind](times, quality, (self.penalty,), weights)

    def told(self) -> dict[str, Any]:
        """For people and JSON."""
        return {"kind": self.kind, "penalty": self.penalty, "blocks": dict(self.blocks)}


_FITS: Final = {"ridge": ridge, "logistic": logistic}


def weighted(
    featurizer: Featurizer, rows: sparse.csr_matrix, blocks: Mapping[str, float]
) -> sparse.csr_matrix:
    """Rows of weight 1 with the blocks weighted."""
    sizes = featurizer.sizes
    weights = [np.float32(blocks.get(name, 0.0)) for name in sizes]
    scale = np.repeat(weights, list(sizes.values()))
    scaled = rows.copy()
    scaled.data = rows.data * scale[rows.indices]
    return scaled


@dataclass(frozen=True, slots=True)
class Trials:
    """The rows on which settings are tried, cut into folds, and how a try is scored.

    `expected` float64[n, m] are the costs foreseen, `whole` are the rows with all scores and costs,
    `routed` says whether they are enough to measure routing, `alike` has the products of the rows'
    features, float32[n, n], by block.
    """

    data: Labelled
    cuts: Sequence[tuple[Array, Array]]
    expected: Numbers
    whole: Array
    routed: bool
    alike: Mapping[str, Floats]

    @classmethod
    def of(
        cls, featurizer: Featurizer, rows: sparse.csr_matrix, data: Labelled, seed: int
    ) -> "Trials":
        """At most `MOST_TRIED` of the data, whose `rows` have all blocks at weight 1; five folds,
        of many rows three."""
        if len(data) > MOST_TRIED:
            kept = np.sort(np.random.default_rng(seed).permutation(len(data))[:MOST_TRIED])
            rows, data = rows[kept], data.take(kept)
        last = rows[:, featurizer.text :].toarray()
        expected = cost_head(last, data).apply(rows).astype(np.float64)
        ends = np.cumsum([0, *featurizer.sizes.values()])
        alike = {
            name: gram(rows[:, start:end].tocsr())
            for name, start, end in zip(featurizer.sizes, ends, ends[1:], strict=False)
            if end > start
        }
        cuts = folds(data.prompts, 5 if len(data) <= _FEW else 3, seed)
        known = ~(np.isnan(data.quality) | np.isnan(data.cost)).any(axis=1)
        routed = bool(known.sum() >= _WHOLE) and not np.isnan(expected).any()
        return cls(data, cuts, expected, np.flatnonzero(known), routed, alike)

    def has(self, blocks: Mapping[str, float]) -> bool:
        """Whether there are vectors, for weights that have them."""
        return "vectors" in self.alike or "vectors" not in blocks

    def held_out(
        self, blocks: Mapping[str, float], penalties: Mapping[str, Sequence[float]]
    ) -> list[tuple[Learner, Floats]]:
        """Learners with these blocks, for the penalties of each kind, and what they predict for
        rows that they were not fitted on: float32[n, m]."""
        alike = np.zeros((len(self.data), len(self.data)), np.float32)
        for name, one in self.alike.items():
            if name in blocks:
                alike += np.float32(blocks[name] ** 2) * one
        quality, weights = self.data.quality, self.data.weights
        told = {
            kind: np.zeros((len(some), *quality.shape), np.float32)
            for kind, some in penalties.items()
        }
        for fit, look in self.cuts:
            inner, across = alike[np.ix_(fit, fit)], alike[np.ix_(look, fit)]
            counted = None if weights is None else weights[fit]
            for kind, some in penalties.items():
                fitted = _FITS[kind](inner.__matmul__, quality[fit], some, counted)
                told[kind][:, look] = np.split(fitted.told(across), len(some), axis=1)
        return [
            (Learner(blocks, kind, penalty), told[kind][place])
            for kind, some in penalties.items()
            for place, penalty in enumerate(some)
        ]

    def score(self, told: Floats) -> float:
        """How good routing by these predictions is: APGR of two candidates without costs, AIQ
        otherwise; where few rows have all scores, less the squared error."""
        if not self.routed:
            return -float(np.nanmean((told - self.data.quality) ** 2))
        true, guess = self._true(), told[self.whole].astype(np.float64)
        ones = np.ones(len(true))
        if self.data.costs == "calls" and true.shape[1] == 2:
            weak, strong = np.argsort(true.mean(axis=0), kind="stable")
            gap, _ = Gap.of(guess[:, strong] - guess[:, weak], true[:, weak], true[:, strong])
            return apgr(gap.recovered(ones))
        means = self.data.cost[self.whole].mean(axis=0)
        return self._sweep(told, _POINTS).curve(ones).mean(float(means.min()), float(means.max()))

    def worst(self, told: Floats) -> float:
        """By how much quality is above that of the zero router at the worst of nine budgets; 0
        where that cannot be told."""
        budget = budgets(self.data.cost[self.whole]) if self.routed else np.empty(0)
        if not budget.size:
            return 0.0
        true = self._true()
        singles = Sweep.singles(true, self.data.cost[self.whole])
        bought = self._sweep(told, _FINE).along(budget)
        return float(against_zero(bought, singles, budget, np.ones(len(true)))[:, 3].min())

    def _true(self) -> Numbers:
        return self.data.quality[self.whole].astype(np.float64)

    def _sweep(self, told: Floats, points: int) -> Sweep:
        guess, cost = told[self.whole].astype(np.float64), self.data.cost[self.whole]
        return Sweep.of(guess, self.expected[self.whole], self._true(), cost, points)
