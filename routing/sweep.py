"""What a router gets for its money: all the prices a dollar may have, and nine budgets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from routing.curve import PRICES, Curve, Numbers, choose, hull, prices

BUDGETS: Final = 9
_LEAST: Final = 1e-6  # of the highest budget: as low as pooled ones go


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is chosen at each price of a sweep, from where only quality counts to where only cost
    does: float64[k, n], each row one price. `expected` is the cost foreseen, `cost` and `quality`
    are the true ones."""

    expected: Numbers
    cost: Numbers
    quality: Numbers

    @classmethod
    def of(
        cls,
        predicted: Numbers,
        expected: Numbers,
        quality: Numbers,
        cost: Numbers,
        points: int = PRICES,
    ) -> "Sweep":
        """That of predictions; all float64[n, m]."""
        rows = np.arange(quality.shape[0])
        chosen = [choose(predicted, expected, at) for at in prices(predicted, expected, points)]
        return cls(
            np.array([expected[rows, choice] for choice in chosen]),
            np.array([cost[rows, choice] for choice in chosen]),
            np.array([quality[rows, choice] for choice in chosen]),
        )

    @classmethod
    def singles(cls, quality: Numbers, cost: Numbers) -> "Sweep":
        """That of the zero router: each candidate for all rows. float64[n, m]."""
        paid = np.ascontiguousarray(cost.T)
        return cls(paid, paid, np.ascontiguousarray(quality.T))

    def curve(self, counts: Numbers) -> Curve:
        """The hull of its means, when each row counts as often as told."""
        share = counts / counts.sum()
        return hull(self.cost @ share, self.quality @ share)

    def along(self, budget: Numbers) -> "Sweep":
        """What is chosen where the mean cost foreseen is each of some budgets (US dollars a row):
        by a coin between the two prices beside it, whose outcome stands for both."""
        foreseen = self.expected.mean(axis=1)
        order = np.argsort(foreseen, kind="stable")
        at = np.interp(budget, foreseen[order], np.arange(len(order)))
        low = np.floor(at).astype(np.int64)
        high, part = np.minimum(low + 1, len(order) - 1), (at - low)[:, None]

        def mixed(table: Numbers) -> Numbers:
            return np.asarray((1 - part) * table[order[low]] + part * table[order[high]])

        return Sweep(mixed(self.expected), mixed(self.cost), mixed(self.quality))

    @classmethod
    def joined(cls, parts: Sequence["Sweep"]) -> "Sweep":
        """Several along the same budgets, of other rows each, as one."""
        return cls(
            np.concatenate([part.expected for part in parts], axis=1),
            np.concatenate([part.cost for part in parts], axis=1),
            np.concatenate([part.quality for part in parts], axis=1),
        )

    @classmethod
    def pooled(cls, parts: Sequence["Sweep"]) -> "Sweep":
        """Several of other rows each, which all keep to the same budget a row."""
        if len(parts) == 1:
            return parts[0]
        means = [part.expected.mean(axis=1) for part in parts]
        least, most = min(one.min() for one in means), max(one.max() for one in means)
        budget = np.geomspace(max(least, most * _LEAST), most, PRICES)
        return cls.joined([part.along(budget) for part in parts])


def budgets(cost: Numbers) -> Numbers:
    """Nine budgets for a row, US dollars, each by the same factor above the last: from the mean
    cost of the cheapest candidate to that of the dearest. None where some are free."""
    means = cost.mean(axis=0)
    if means.min() <= 0 or means.min() == means.max():
        return np.empty(0)
    return np.geomspace(means.min(), means.max(), BUDGETS)


def against_zero(bought: Sweep, singles: Sweep, budget: Numbers, counts: Numbers) -> Numbers:
    """What a router does with budgets, `bought` along them: float64[k, 4], the true spend and
    quality a row, the zero router's quality for the budget (for the spend, where that came out
    higher), and by how much the router is better."""
    share = counts / counts.sum()
    paid, got = bought.cost @ share, bought.quality @ share
    zero = singles.curve(counts).at(np.maximum(budget, paid))
    return np.column_stack((paid, got, zero, got - zero))
