"""Which candidate each request gets when quality has a price: argmax(quality - price × cost).

One price for all requests is what makes the most of a mean cost, or reaches a mean quality at
the least: the Lagrangian of either (Boyd and Vandenberghe, Convex Optimization, §5.5).
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_DEAREST: Final = 1e9  # quality a dollar: as good as "the cheapest, whatever it is worth"
_LEAST: Final = 1e-6
_STEPS: Final = 60


def chosen(quality: Floats, cost: Floats, price: float) -> NDArray[np.int64]:
    """int[n]: the best column of each row at a price (quality a dollar); the cheaper of equals.

    `quality` and `cost` (dollars a call) are float[n, m], quality NaN where a candidate cannot
    be had. A row of which none can be had gets column 0. A cost that is not known counts as
    the row's highest.
    """
    known = np.where(np.isnan(cost), _highest(cost), cost)
    worth = np.where(np.isnan(quality), -np.inf, quality - price * known)
    best = worth.max(axis=1, keepdims=True)
    ties = np.where(worth >= best, known, np.inf)
    return np.asarray(np.argmin(ties, axis=1), np.int64)


def price_for_quality(quality: Floats, cost: Floats, aim: float) -> float:
    """The highest price at which the mean quality of what is chosen is still `aim`; 0, where
    money counts only among equals, when no price reaches it."""

    def reaches(price: float) -> bool:
        return _mean(quality, chosen(quality, cost, price)) >= aim

    if not reaches(_LEAST):
        return 0.0
    return _DEAREST if reaches(_DEAREST) else _between(reaches)[0]


def price_for_cost(quality: Floats, cost: Floats, usd: float) -> float:
    """The lowest price at which the mean cost of what is chosen is no more than `usd` a call;
    the dearest there is when none is."""

    def is_over(price: float) -> bool:
        return _mean(cost, chosen(quality, cost, price)) > usd

    if not is_over(0.0):
        return 0.0
    return _between(is_over)[1]


def _between(holds: Callable[[float], bool]) -> tuple[float, float]:
    """Two prices next to each other: up to the first it holds, from the second on no more."""
    low, high = _LEAST, _DEAREST
    for _ in range(_STEPS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, high


def _mean(values: Floats, columns: NDArray[np.int64]) -> float:
    return float(np.nanmean(np.take_along_axis(values, columns[:, None], axis=1)))


def _highest(cost: Floats) -> Floats:
    most = np.max(np.where(np.isnan(cost), -np.inf, cost), axis=1, keepdims=True)
    return np.where(np.isfinite(most), most, 0).astype(np.float32)
