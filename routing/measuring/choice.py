"""A model for choice, measured on judged prompts: gap recovered, AIQ, and what budgets buy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.stats import rankdata

from routing.curve import Gap, Measured, Numbers, apgr, bootstrap, cpt
from routing.labelled import Labelled
from routing.models.choice import ChoiceModel, Prediction
from routing.sweep import Sweep, against_zero, budgets

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


@dataclass(frozen=True, slots=True)
class Part:
    """Prompts, and what a model that has not seen them tells of them."""

    data: Labelled
    told: Prediction

    def whole(self) -> "Part":
        """Those with all scores."""
        rows = np.flatnonzero(~np.isnan(self.data.quality).any(axis=1))
        told = Prediction(self.told.quality[rows], self.told.cost[rows])
        return Part(self.data.take(rows), told)

    def gain(self, weak: int, strong: int) -> Numbers:
        """float64[n]: by how much the stronger candidate is foreseen to be better."""
        told = self.told.quality.astype(np.float64)
        return np.asarray(told[:, strong] - told[:, weak])


def measure(model: ChoiceModel, told: Prediction, data: Labelled, seed: int = 0) -> Figures:
    """All that can be said of the predictions `told` for `data`. Rows that lack a score are
    left out. Raises ValueError where none is left."""
    weak, strong = np.argsort(model.base, kind="stable")[[0, -1]].tolist()
    return measure_parts([Part(data, told)], weak, strong, seed)


def measure_parts(parts: Sequence[Part], weak: int, strong: int, seed: int = 0) -> Figures:
    """The same of several models, as of one: each is told of its own rows only. So that what one
    foresees need not be comparable with what another does, each sends the same share of its rows
    to the stronger of two candidates, or keeps to the same budget a row."""
    whole = [part.whole() for part in parts]
    whole = [part for part in whole if len(part.data)]
    if not whole:
        raise ValueError("no prompt has the scores of all candidates")
    quality = np.concatenate([part.data.quality for part in whole]).astype(np.float64)
    cost = np.concatenate([part.data.cost for part in whole])
    names = whole[0].data.candidates
    values: dict[str, Any] = {
        "task": "choice",
        "rows": len(quality),
        "rows_left_out": sum(len(part.data) for part in parts) - len(quality),
        "costs": whole[0].data.costs,
    }
    measured: dict[str, Measured] = {}
    if len(names) == 2:
        values |= {"weak": names[weak], "strong": names[strong]}
        ranks = np.concatenate([_ranks(part.gain(weak, strong)) for part in whole])
        measured |= gap_figures(ranks, quality[:, weak], quality[:, strong], seed)
    if not np.isnan(cost).any() and np.ptp(cost.mean(axis=0)) > SMALLEST:
        swept = [_sweep(part) for part in whole]
        measured |= aiq_figures(Sweep.pooled(swept), Sweep.singles(quality, cost), seed)
        if (budget := budgets(cost)).size:
            bought = Sweep.joined([one.along(budget) for one in swept])
            values["budget_curve"] = budget_curve(bought, quality, cost, seed)
    values |= {key: one.value for key, one in measured.items()}
    return Figures(values, {key: (one.low, one.high) for key, one in measured.items()})


def _ranks(gain: Numbers) -> Numbers:
    """From 0 to 1; equal gains have one rank."""
    return np.asarray(rankdata(gain, "average") / len(gain))


def _sweep(part: Part) -> Sweep:
    told, data = part.told, part.data
    return Sweep.of(
        told.quality.astype(np.float64),
        told.cost.astype(np.float64),
        data.quality.astype(np.float64),
        data.cost,
    )


def gap_figures(
    gain: Numbers, weak: Numbers, strong: Numbers, seed: int = 0
) -> dict[str, Measured]:
    """APGR, and the share of strong calls that recovers 50 and 80 % of the gap."""
    gap, _ = Gap.of(gain, weak, strong)

    def figures(counts: Numbers) -> tuple[float, ...]:
        curve = gap.recovered(counts)
        return apgr(curve), cpt(curve, 0.5), cpt(curve, 0.8)

    return dict(zip(("apgr", "cpt50", "cpt80"), bootstrap(gain.size, figures, seed), strict=True))


def aiq_figures(router: Sweep, singles: Sweep, seed: int = 0) -> dict[str, Measured]:
    """AIQ of the router and of the zero router, the best single candidate's quality, and the
    quality at the router's dear end."""
    dear = int(router.expected.mean(axis=1).argmax())

    def figures(counts: Numbers) -> tuple[float, ...]:
        share = counts / counts.sum()
        means = singles.cost @ share
        least, most = float(means.min()), float(means.max())
        ours = router.curve(counts).mean(least, most)
        zero = singles.curve(counts).mean(least, most)
        return (
            ours,
            zero,
            ours - zero,
            float(router.quality[dear] @ share),
            float((singles.quality @ share).max()),
        )

    names = ("aiq", "aiq_zero", "aiq_gain", "quality_at_most", "quality_best_single")
    return dict(zip(names, bootstrap(singles.cost.shape[1], figures, seed), strict=True))


def budget_curve(
    bought: Sweep, quality: Numbers, cost: Numbers, seed: int = 0
) -> list[dict[str, Any]]:
    """For each of nine budgets for a request, US dollars: what is truly spent and got where the
    cost foreseen is the budget, and the zero router's quality for as much. `difference` has a
    95 % interval by bootstrap over prompts, with what is chosen as it is."""
    budget, singles = budgets(cost), Sweep.singles(quality, cost)

    def figures(counts: Numbers) -> tuple[float, ...]:
        return tuple(against_zero(bought, singles, budget, counts)[:, 3].tolist())

    gained = bootstrap(len(quality), figures, seed)
    rows = against_zero(bought, singles, budget, np.ones(len(quality)))
    return [
        {
            "budget": float(one),
            "spend": float(row[0]),
            "quality": float(row[1]),
            "zero": float(row[2]),
            "difference": gain.value,
            "interval": [gain.low, gain.high],
        }
        for one, row, gain in zip(budget, rows, gained, strict=True)
    ]
