"""A model for choice, measured on judged prompts: gap recovered, AIQ, and what budgets buy."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from routing.curve import (
    Curve,
    Gap,
    Measured,
    Numbers,
    apgr,
    bootstrap,
    choose,
    cpt,
    hull,
    prices,
)
from routing.labelled import Labelled
from routing.models.choice import ChoiceModel, Prediction

BUDGETS: Final = 9
SMALLEST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Figures:
    """What `router eval` tells: `values` for people and JSON, and an interval for some."""

    values: dict[str, Any]
    intervals: dict[str, tuple[float, float]]

    def told(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            **self.values,
            "intervals": {key: list(ends) for key, ends in self.intervals.items()},
        }


def measure(model: ChoiceModel, told: Prediction, data: Labelled, seed: int = 0) -> Figures:
    """All that can be said of the predictions `told` for `data`. Rows that lack a score are
    left out. Raises ValueError where none is left."""
    whole = ~np.isnan(data.quality).any(axis=1)
    if not whole.any():
        raise ValueError("no prompt has the scores of all candidates")
    quality, cost = data.quality[whole].astype(np.float64), data.cost[whole]
    predicted = told.quality[whole].astype(np.float64)
    expected = told.cost[whole].astype(np.float64)
    values: dict[str, Any] = {
        "task": "choice",
        "rows": int(whole.sum()),
        "rows_left_out": int((~whole).sum()),
        "costs": data.costs,
    }
    measured: dict[str, Measured] = {}
    if len(model.candidates) == 2:
        weak, strong = np.argsort(model.base, kind="stable")
        values |= {"weak": model.candidates[weak], "strong": model.candidates[strong]}
        measured |= gap_figures(
            predicted[:, strong] - predicted[:, weak], quality[:, weak], quality[:, strong], seed
        )
    if not np.isnan(cost).any() and np.ptp(cost.mean(axis=0)) > SMALLEST:
        measured |= aiq_figures(predicted, expected, quality, cost, seed)
    values |= {key: one.value for key, one in measured.items()}
    return Figures(values, {key: (one.low, one.high) for key, one in measured.items()})


def gap_figures(
    gain: Numbers, weak: Numbers, strong: Numbers, seed: int = 0
) -> dict[str, Measured]:
    """APGR, and the share of strong calls that recovers 50 and 80 % of the gap."""
    gap, _ = Gap.of(gain, weak, strong)

    def figures(counts: Numbers) -> tuple[float, ...]:
        curve = gap.recovered(counts)
        return apgr(curve), cpt(curve, 0.5), cpt(curve, 0.8)

    return dict(zip(("apgr", "cpt50", "cpt80"), bootstrap(gain.size, figures, seed), strict=True))


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a router gets over a sweep of prices: float64[k, n], each row one price."""

    cost: Numbers
    quality: Numbers

    @classmethod
    def of(cls, predicted: Numbers, expected: Numbers, quality: Numbers, cost: Numbers) -> "Sweep":
        """The true cost and quality of what the predictions choose at each price."""
        rows = np.arange(quality.shape[0])
        chosen = [choose(predicted, expected, price) for price in prices(predicted, expected)]
        return cls(
            np.array([cost[rows, choice] for choice in chosen]),
            np.array([quality[rows, choice] for choice in chosen]),
        )

    def curve(self, counts: Numbers) -> Curve:
        """The hull of its means, when each row counts as often as told."""
        share = counts / counts.sum()
        return hull(self.cost @ share, self.quality @ share)


def aiq_figures(
    predicted: Numbers, expected: Numbers, quality: Numbers, cost: Numbers, seed: int = 0
) -> dict[str, Measured]:
    """AIQ of the router and of the zero router, the best single candidate's quality, and the
    quality at the router's dear end."""
    router = Sweep.of(predicted, expected, quality, cost)
    singles = Sweep(np.ascontiguousarray(cost.T), np.ascontiguousarray(quality.T))

    def figures(counts: Numbers) -> tuple[float, ...]:
        share = counts / counts.sum()
        means = singles.cost @ share
        least, most = float(means.min()), float(means.max())
        ours, zero = router.curve(counts), singles.curve(counts)
        return (
            ours.mean(least, most),
            zero.mean(least, most),
            ours.mean(least, most) - zero.mean(least, most),
            float(router.quality[0] @ share),
            float((singles.quality @ share).max()),
        )

    names = ("aiq", "aiq_zero", "aiq_gain", "quality_at_most", "quality_best_single")
    return dict(zip(names, bootstrap(quality.shape[0], figures, seed), strict=True))
