"""How good a router is: what its choices cost, and what they are worth.

Two candidates: the performance gap recovered (PGR) against the share of calls to the better
one; APGR is the area below it, CPT(x) the least share that recovers x of the gap
(RouteLLM, arXiv 2406.18665). Several candidates: AIQ, the mean quality of the non-decreasing
convex hull over the range of cost from the cheapest to the dearest single candidate, and the
zero router, the hull of the single candidates (RouterBench, arXiv 2403.12031).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.int64]

RESAMPLES: Final = 1_000
CONFIDENCE: Final = 0.95
PRICES: Final = 80  # points of a router's curve


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of growing cost and quality, mixed between neighbours by a coin: float64[k]."""

    cost: Numbers
    quality: Numbers

    def at(self, cost: float | Numbers) -> Numbers:
        """The quality at a mean cost; beyond the ends that of the nearest end."""
        return np.asarray(np.interp(cost, self.cost, self.quality))

    def mean(self, least: float, most: float) -> float:
        """The mean quality over a range of cost: AIQ."""
        if most <= least:
            return float(self.quality[-1])
        inner = self.cost[(self.cost > least) & (self.cost < most)]
        at = np.concatenate(([least], inner, [most]))
        return float(np.trapezoid(self.at(at), at) / (most - least))


def hull(cost: Numbers, quality: Numbers) -> Curve:
    """The non-decreasing upper convex hull of points."""
    order = np.lexsort((-quality, cost))
    kept: list[tuple[float, float]] = []
    for x, y in zip(cost[order].tolist(), quality[order].tolist(), strict=True):
        if kept and y <= kept[-1][1]:
            continue
        while len(kept) > 1 and _below(kept[-2], kept[-1], (x, y)):
            kept.pop()
        kept.append((x, y))
    points = np.array(kept, np.float64).reshape(-1, 2)
    return Curve(points[:, 0], points[:, 1])


def _below(
    left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]
) -> bool:
    """Whether the middle one lies on or under the line between the others."""
    rise = (right[1] - left[1]) * (middle[0] - left[0])
    return (middle[1] - left[1]) * (right[0] - left[0]) <= rise


def cheapest_of(cost: Numbers, quality: Numbers) -> int:
    """The place of the least cost; of several at the same cost the best."""
    least = cost <= cost.min() * (1 + 1e-6)
    return int(np.where(least, quality, -np.inf).argmax())


def choose(quality: Numbers, cost: Numbers, price: float) -> Rows:
    """int64[n]: the candidate of most quality - price × cost for each row; of equals the
    cheaper. `price` is quality per dollar."""
    worth = quality - price * cost
    best = worth.max(axis=1, keepdims=True)
    return np.asarray(np.where(worth >= best - 1e-12, cost, np.inf).argmin(axis=1), np.int64)


def prices(quality: Numbers, cost: Numbers, points: int = PRICES) -> Numbers:
    """The prices at which a router is looked at, from 0 to one where only cost counts."""
    gaps = np.abs(cost - cost.min(axis=1, keepdims=True))
    seen = gaps[gaps > 0]
    if not seen.size:
        return np.zeros(1)
    spread = max(float(np.ptp(quality)), 1e-6)
    low, high = 1e-3 * spread / np.quantile(seen, 0.99), 2 * spread / np.quantile(seen, 0.01)
    return np.concatenate(([0.0], np.geomspace(low, high, points - 1)))


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure, and its interval by bootstrap over prompts."""

    value: float
    low: float
    high: float


def bootstrap(
    rows: int, figures: Callable[[Numbers], Sequence[float]], seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Measured]:  # fmt: skip
    """The figures and their 95 % intervals. `figures` computes them from how often each row
    counts: float64[rows]."""
    drawn = np.random.default_rng(seed)
    told = np.array(
        [
            figures(np.bincount(drawn.integers(0, rows, rows), minlength=rows).astype(np.float64))
            for _ in range(resamples)
        ]
    )
    values = figures(np.ones(rows))
    tail = (1 - CONFIDENCE) / 2
    ends = np.full((2, told.shape[1]), np.nan)
    known = ~np.isnan(told).all(axis=0)
    ends[:, known] = np.nanquantile(told[:, known], (tail, 1 - tail), axis=0)
    return [
        Measured(float(value), float(low), float(high))
        for value, low, high in zip(values, ends[0], ends[1], strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Gap:
    """Two candidates: what sending more and more prompts to the better one recovers.

    `weak`, `strong` float64[n]: their true quality, in the order in which prompts are sent
    to the strong one; rows of equal gain share a `tie` number (int64[n], ascending).
    """

    weak: Numbers
    strong: Numbers
    tie: Rows

    @classmethod
    def of(cls, gain: Numbers, weak: Numbers, strong: Numbers) -> tuple["Gap", Rows]:
        """The gap by predicted gain, the greatest first, and the order of the rows."""
        order = np.argsort(-gain, kind="stable")
        tie = np.concatenate(([0], np.cumsum(np.diff(gain[order]) != 0)))
        return cls(weak[order], strong[order], tie), order

    def recovered(self, counts: Numbers) -> Curve:
        """PGR (`quality`) against the share of strong calls (`cost`); within a tie a straight
        line, as a coin would give. `counts` float64[n] in the order of the rows here."""
        gain = counts * (self.strong - self.weak)
        whole = float(gain.sum())
        share = np.bincount(self.tie, counts) / counts.sum()
        risen = np.bincount(self.tie, gain) / (whole or np.nan)
        return Curve(
            np.concatenate(([0.0], np.cumsum(share))), np.concatenate(([0.0], np.cumsum(risen)))
        )


def apgr(curve: Curve) -> float:
    """The area below PGR."""
    return float(np.trapezoid(curve.quality, curve.cost))


def cpt(curve: Curve, level: float) -> float:
    """The least share of strong calls that recovers `level` of the gap."""
    reached = np.flatnonzero(curve.quality >= level)
    if not reached.size:
        return float("nan")
    at = int(reached[0])
    if at == 0:
        return 0.0
    low, high = curve.quality[at - 1], curve.quality[at]
    part = (level - low) / (high - low)
    return float(curve.cost[at - 1] + part * (curve.cost[at] - curve.cost[at - 1]))
