"""The quality that routing by a model has at each cost, beside single candidates and mixes."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from routing.curve import Measured, Numbers, bootstrap, cheapest_of
from routing.measuring.held_back import Judged
from routing.sweep import Sweep

POINTS: Final = 24
"""Of the curve."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Costs are US dollars a request (or calls to the better candidate, where nothing else is
    known). `singles` has quality and cost of each candidate; `cost` are the `POINTS` from the
    cheapest to the dearest of the best mixes, with the quality of the router, of the best mix of
    two, and the difference there."""

    names: tuple[str, ...]
    rows: int
    singles: tuple[tuple[Measured, Measured], ...]
    best: int
    cheapest: int
    cost: Numbers
    router: tuple[Measured, ...]
    mix: tuple[Measured, ...]
    gap: tuple[Measured, ...]


def profile(judged: Judged, seed: int = 0) -> Profile:
    """The curve. Raises ValueError where no prompt has the scores of all candidates."""
    data = judged.data
    if not len(data):
        raise ValueError("no prompt has the scores and costs of all candidates")
    quality, cost = data.quality.astype(np.float64), data.cost
    predicted, expected = (
        np.asarray(table, np.float64) for table in (judged.told.quality, judged.told.cost)
    )
    swept = Sweep.of(predicted, expected, quality, cost)
    mixed = Sweep.singles(quality, cost)
    ones = np.ones(len(data))
    whole, ours = mixed.curve(ones), swept.curve(ones)
    grid = np.linspace(whole.cost[0], max(whole.cost[-1], ours.cost[-1]), POINTS)

    def figures(counts: Numbers) -> tuple[float, ...]:
        share = counts / counts.sum()
        router, mix = swept.curve(counts).at(grid), mixed.curve(counts).at(grid)
        return (*(quality.T @ share), *(cost.T @ share), *router, *mix, *(router - mix))

    m = len(data.candidates)
    told = bootstrap(len(data), figures, seed)
    curves = [tuple(told[2 * m + at * POINTS : 2 * m + (at + 1) * POINTS]) for at in range(3)]
    return Profile(
        data.candidates, len(data), tuple(zip(told[:m], told[m : 2 * m], strict=True)),
        int(quality.mean(axis=0).argmax()), cheapest_of(cost.mean(axis=0), quality.mean(axis=0)),
        grid, *curves,
    )  # fmt: skip
