"""What a job's routing was worth: against one candidate for everything, and the mix of two.

What another choice would have given is known in one of three ways, the `basis`:

`pilot`      a sample of the requests was asked of every candidate: its means are without bias;
`explored`   the first candidate was drawn with a known probability p, all of them above 0: the
             doubly robust estimate, prediction + 1[asked] (score - prediction) / p, is without
             bias whatever the predictions are (Dudík, Langford and Li, ICML 2011);
`predicted`  what was measured where a candidate answered, what was predicted of it elsewhere:
             its interval does not hold the model's own error.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from routing.curve import Curve, Measured, Numbers, bootstrap, cheapest_of, hull

Basis = Literal["pilot", "explored", "predicted"]

LEAST: Final = 20
"""Answers of each candidate that an estimate without bias is made of, at least."""
BINS: Final = 5


@dataclass(frozen=True, slots=True)
class Did:
    """What a job did: rows are answered requests.

    `score` float64[n], NaN where there is none; `paid` float64[n] US dollars; `by` int64[n] the
    column of who answered. `quality`, `cost` float64[n, m] were predicted, NaN where nothing
    was. `first` int64[n] is the column that was asked first, with probability `propensity`
    float64[n]; None where who was asked first is not whose answer counts.
    """

    names: tuple[str, ...]
    score: Numbers
    paid: Numbers
    by: NDArray[np.int64]
    quality: Numbers
    cost: Numbers
    first: NDArray[np.int64] | None
    propensity: Numbers

    def take(self, rows: NDArray[np.bool_]) -> "Did":
        """These rows only."""
        return Did(
            self.names, self.score[rows], self.paid[rows], self.by[rows], self.quality[rows],
            self.cost[rows], None if self.first is None else self.first[rows],
            self.propensity[rows],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """A pilot: `quality`, `cost` float64[k, m], every candidate on each of k requests."""

    quality: Numbers
    cost: Numbers


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of like predicted quality: how many, the mean prediction, the mean score."""

    count: int
    predicted: float
    measured: Measured


@dataclass(frozen=True, slots=True)
class Savings:
    """The comparison, with 95 % intervals by bootstrap over requests. US dollars are a request's.

    `measured` says that `quality` is of scores, not of predictions. `always` has quality and
    cost of each candidate for everything; `best` and `cheapest` are columns. `gap` is the
    quality above that of the best one, `saved` the money less than that, `saved_share` as a
    share of it. `mix` is the quality of the best mix of two at the same spend, `mix_gap` the
    quality above it; `mix_usd` what a mix of the same quality costs (NaN where none has it),
    `mix_saved` the money less than that.
    """

    basis: Basis
    measured: bool
    rows: int
    compared: int
    quality: Measured
    usd: Measured
    always: tuple[tuple[Measured, Measured], ...]
    best: int
    cheapest: int
    gap: Measured
    saved: Measured
    saved_share: Measured
    cheap_gap: Measured
    mix: Measured
    mix_gap: Measured
    mix_usd: Measured
    mix_saved: Measured


def savings(did: Did, sample: Sample | None, *, draws: bool, seed: int = 0) -> Savings | None:
    """What the routing saved. `draws` says that the first candidates were drawn with the
    propensities told. None where nothing is known of what others would have given."""
    foreseen = ~np.isnan(did.quality).all(axis=1) & ~np.isnan(did.paid)
    scored = foreseen & ~np.isnan(did.score)
    measured = int(scored.sum()) >= LEAST
    some = did.take(scored if measured else foreseen)
    if len(did.names) < 2 or len(some.paid) < 2:
        return None
    if not measured:
        rows = np.arange(len(some.paid))
        some = replace(some, score=some.quality[rows, some.by])
        if np.isnan(some.score).any():
            return None
    basis, quality, cost = _alternatives(some, sample, draws=draws and measured)
    return _compared(some, basis, quality, cost, measured=measured, seed=seed)


def _alternatives(
    did: Did, sample: Sample | None, *, draws: bool
) -> tuple[Basis, Numbers, Numbers]:
    """How it is known, and float64[k, m] each: a row is one request's part in the means."""
    if sample is not None and len(sample.quality) >= LEAST:
        return "pilot", sample.quality, sample.cost
    quality, cost = _filled(did)
    if draws and did.first is not None and _is_drawn(did):
        rows = np.arange(len(did.paid))
        weight = 1 / np.maximum(did.propensity, 1e-6)
        robust = [table.copy() for table in (quality, cost)]
        for table, seen in zip(robust, (did.score, did.paid), strict=True):
            table[rows, did.first] += weight * (seen - table[rows, did.first])
        return "explored", robust[0], robust[1]
    rows = np.arange(len(did.paid))
    quality[rows, did.by], cost[rows, did.by] = did.score, did.paid
    return "predicted", quality, cost


def _filled(did: Did) -> tuple[Numbers, Numbers]:
    """The predictions; costs scaled to what a candidate's answers truly cost, and what the job
    did where a candidate cannot be asked."""
    cost = did.cost.copy()
    for column in range(len(did.names)):
        mine = (did.by == column) & (cost[:, column] > 0)
        if mine.sum() >= LEAST:
            cost[:, column] *= did.paid[mine].sum() / cost[mine, column].sum()
    quality = np.where(np.isnan(did.quality), did.score[:, None], did.quality)
    return quality, np.where(np.isnan(cost), did.paid[:, None], cost)


def _is_drawn(did: Did) -> bool:
    """Whether every candidate could be first, and was so often enough."""
    if did.first is None or not np.nanmax(did.propensity) < 1:
        return False
    return int(np.bincount(did.first, minlength=len(did.names)).min()) >= LEAST


def _compared(
    did: Did, basis: Basis, quality: Numbers, cost: Numbers, *, measured: bool, seed: int
) -> Savings:
    best = int(quality.mean(axis=0).argmax())
    cheapest = cheapest_of(cost.mean(axis=0), quality.mean(axis=0))
    own, m = len(did.paid), len(did.names)
    paired = basis != "pilot"

    def figures(counts: Numbers) -> tuple[float, ...]:
        share = counts[:own] / max(counts[:own].sum(), 1.0)
        others = share if paired else counts[own:] / max(counts[own:].sum(), 1.0)
        got, paid = float(did.score @ share), float(did.paid @ share)
        worth, usd = others @ quality, others @ cost
        mixed = hull(usd, worth)
        same, price = float(mixed.at(paid)), cost_at(mixed, got)
        return (
            got, paid, got - worth[best], usd[best] - paid,
            (usd[best] - paid) / usd[best] if usd[best] > 0 else np.nan,
            got - worth[cheapest], same, got - same, price, price - paid, *worth, *usd,
        )  # fmt: skip

    told = bootstrap(own if paired else own + len(quality), figures, seed)
    head, worth, usd = told[:10], told[10 : 10 + m], told[10 + m :]
    return Savings(
        basis, measured, own, own if paired else len(quality), head[0], head[1],
        tuple(zip(worth, usd, strict=True)), best, cheapest, *head[2:10],
    )  # fmt: skip


def cost_at(curve: Curve, quality: float) -> float:
    """The least cost of a mix of this quality; NaN where none has it."""
    if quality > curve.quality[-1]:
        return float("nan")
    return float(np.interp(quality, curve.quality, curve.cost))


def calibration(predicted: Numbers, score: Numbers, seed: int = 0) -> list[Bin]:
    """Predicted against measured quality of the answers, in up to five bins of equal size."""
    known = ~(np.isnan(predicted) | np.isnan(score))
    told, seen = predicted[known], score[known]
    if len(told) < LEAST:
        return []
    order = np.argsort(told, kind="stable")
    found = []
    for part in np.array_split(order, min(BINS, len(order) // LEAST)):
        values = seen[part]
        [mean] = bootstrap(len(values), partial(_mean, values), seed)
        found.append(Bin(len(part), float(told[part].mean()), mean))
    return found


def _mean(values: Numbers, counts: Numbers) -> tuple[float]:
    return (float(values @ counts / counts.sum()),)
