"""Training a cascade: whom it asks first, and what tells whether their answers are enough.

The strong candidate is the best one; the cheap ones cost less than half of it. Every set of one or
two of them, and the best pair with a third, is tried by cross-validation: what quality it gets at
each cost, when its answers go on to the strong candidate by what that gains a dollar. The one of
the most quality over the range of costs is kept, if it is above the best mixes of single
candidates by more than a standard error; otherwise there is no cascade.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np

from routing.curve import Numbers, bootstrap, hull
from routing.labelled import Labelled
from routing.models.acceptance import Acceptance, Telling, Weighing
from routing.models.state import Array, Floats
from routing.training.layers import FOLDS, First, Texts, first_layer, second_layer
from routing.training.learners import folds

LEAST_ROWS: Final = 50
MOST_ROWS: Final = 3_000  # that a cascade is trained on, evenly over the data
MOST_CHEAP: Final = 8
CHEAP: Final = 0.5  # of the strong candidate's cost: who may be asked before it
TOLERANCE: Final = 0.005
"""Of the mean quality of the strong candidate, that a cascade may lose for its savings."""

RESAMPLES: Final = 200

_POINTS: Final = 41
_DEVIATIONS: Final = 1.96  # standard errors in half a 95 % interval
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Answered:
    """Prompts that all cheap candidates, the cheapest first, have answered: the strong candidate is
    the last column of `quality` and `cost`. `singles` are mean cost and quality of all candidates
    of the data."""

    names: tuple[str, ...]
    strong: str
    prompts: Sequence[str]
    answers: Sequence[Sequence[str]]
    quality: Floats
    cost: Numbers
    singles: tuple[Numbers, Numbers]

    @property
    def dearer(self) -> Numbers:
        """ln(what the strong candidate costs / what it usually costs); 0 where nobody knows."""
        cost = self.cost[:, -1]
        if np.isnan(cost).any() or cost.min() <= 0:
            return np.zeros(len(cost))
        return np.asarray(np.log(cost / cost.mean()), np.float64)


@dataclass(frozen=True, slots=True)
class Tried:
    """A cascade by cross-validation: the `places` of those asked, `gain` float[n] by which rows go
    on, the quality and the cost of each row where it does not, and by how much it is `above` the
    best mixes of single candidates."""

    places: tuple[int, ...]
    gain: Numbers
    kept: Numbers
    paid: Numbers
    above: float


def train_acceptance(data: Labelled, seed: int = 0) -> Acceptance | None:
    """The best cascade of the data's candidates, with its scorer. None where the data have no
    answers of cheap ones, fewer than 50 that were judged, or where no cascade is worth it."""
    answered = _answered(data)
    if answered is None:
        return None
    texts = Texts.of(answered.prompts, answered.answers)
    first = First.held_out(texts, answered.prompts, answered.quality, answered.dearer, seed)
    telling = Telling.of(answered.answers)
    best = _searched(answered, first, telling, seed)
    rows = len(answered.prompts)
    (above,) = bootstrap(rows, lambda counts: (_above(answered, best, counts),), seed, RESAMPLES)
    error = (above.value - above.low) / _DEVIATIONS
    if above.value <= error:
        return None
    foreseen, seen = first_layer(texts, best.places, answered.quality, answered.dearer)
    asked = tuple(answered.names[place] for place in best.places)
    curve, least = _curve(answered, best)
    return Acceptance(
        asked=asked,
        strong=answered.strong,
        prompts=texts.prompts,
        answers=texts.answers,
        foreseen=foreseen,
        seen=seen,
        weighings=_weighings(answered, first, telling, best.places),
        least=least,
        curve=curve,
        info={
            "asked": list(asked),
            "strong": answered.strong,
            "least": least,
            "curve": [_told(point) for point in curve[:: _POINTS // 10].tolist()],
            "cross_validated": {"above_mixes": round(best.above, 4), "error": round(error, 4)},
        },
    )


def _answered(data: Labelled) -> Answered | None:
    """The rows to train on. Candidates go, those with the fewest answers first, until enough rows
    are answered by all."""
    means = np.nanmean(data.quality, axis=0)
    strong, usual = int(np.nanargmax(means)), np.nanmean(data.cost, axis=0)
    told = {
        name: np.array([bool(text) for text in texts])
        & _known(data, [data.candidates.index(name), strong])
        for name, texts in data.responses.items()
        if name in data.candidates
        and name != data.candidates[strong]
        and (len(means) == 2 or usual[data.candidates.index(name)] < CHEAP * usual[strong])
    }
    names = sorted(told, key=lambda name: -int(told[name].sum()))[:MOST_CHEAP]
    while names:
        rows = np.flatnonzero(np.logical_and.reduce([told[name] for name in names]))
        if rows.size >= max(LEAST_ROWS, told[names[0]].sum() // 2):
            break
        names.pop()
    if not names:
        return None
    names.sort(key=lambda name: usual[data.candidates.index(name)])
    rows = rows[:: -(-rows.size // MOST_ROWS)]
    some = data.take(rows)
    columns = [*(data.candidates.index(name) for name in names), strong]
    quality = some.quality[:, columns]
    if (quality[:, :-1] >= 0.5).all() or len({*some.prompts}) < FOLDS:
        return None
    known = ~np.isnan(usual) & ~np.isnan(means)
    return Answered(
        tuple(names),
        data.candidates[strong],
        some.prompts,
        [some.responses[name] for name in names],
        quality,
        some.cost[:, columns],
        (usual[known].astype(np.float64), means[known].astype(np.float64)),
    )


def _known(data: Labelled, columns: Sequence[int]) -> Array:
    unknown = np.isnan(data.quality[:, columns]) | np.isnan(data.cost[:, columns])
    return np.asarray(~unknown.any(axis=1))


def _searched(answered: Answered, first: First, telling: Telling, seed: int) -> Tried:
    cut = folds(answered.prompts, FOLDS, seed + 1)

    def tried(places: tuple[int, ...]) -> Tried:
        return _tried(answered, first, telling, places, cut)

    def above(one: Tried) -> float:
        return one.above

    many = len(answered.names)
    best = max((tried((place,)) for place in range(many)), key=above)
    if many > 1:
        pair = max((tried(pair) for pair in combinations(range(many), 2)), key=above)
        thirds = [place for place in range(many) if place not in pair.places]
        three = [tried(tuple(sorted((*pair.places, third)))) for third in thirds]
        best = max((best, pair, *three), key=above)
    return best


def _weighings(
    answered: Answered, first: First, telling: Telling, asked: Sequence[int]
) -> dict[int, Weighing]:
    """For each set of the asked candidates that may have answered, by its bits."""
    found = {}
    for bits in range(1, 1 << len(asked)):
        places = [place for one, place in enumerate(asked) if bits >> one & 1]
        right = answered.quality[:, [*places, -1]] >= 0.5
        found[bits] = second_layer(first.columns(places, telling), right)
    return found


def _tried(
    answered: Answered,
    first: First,
    telling: Telling,
    places: tuple[int, ...],
    cut: Sequence[tuple[Array, Array]],
) -> Tried:
    columns = first.columns(places, telling)
    right = answered.quality[:, [*places, -1]] >= 0.5
    told = np.empty(right.shape)
    for fit, look in cut:
        told[look] = second_layer(columns[fit], right[fit]).apply(columns[look])
    rows, likely = np.arange(len(told)), told[:, :-1]
    gain = (told[:, -1] - likely.max(axis=1)) / np.exp(first.dearer)
    kept = answered.quality[rows, np.array(places)[likely.argmax(axis=1)]].astype(np.float64)
    one = Tried(places, gain, kept, answered.cost[:, list(places)].sum(axis=1), 0.0)
    return replace(one, above=_above(answered, one, np.ones(len(told))))


def _above(answered: Answered, one: Tried, counts: Numbers) -> float:
    """By how much its quality is above that of the best mixes of single candidates, on average
    over the costs from the cheapest single one to the strong one; rows count as told. Its own
    points are not smoothed: the best of many that are worth nothing would look good."""
    mixes = hull(*answered.singles)
    low, high = float(mixes.cost[0]), float(answered.cost[:, -1].mean())
    cost, quality = _points(answered, one, counts)
    at = np.linspace(min(max(low, cost[0]), high), high, _POINTS)
    difference = np.interp(at, cost, quality) - mixes.at(at)
    return float(np.trapezoid(difference, at) / max(high - low, _TINY))


def _points(answered: Answered, one: Tried, counts: Numbers) -> tuple[Numbers, Numbers]:
    """Mean cost and quality for each share of the rows that goes on, those of most gain first."""
    order, share = np.argsort(-one.gain, kind="stable"), counts / counts.sum()
    better = share * (answered.quality[:, -1] - one.kept)
    cost = np.concatenate(([0.0], np.cumsum((share * answered.cost[:, -1])[order])))
    quality = np.concatenate(([0.0], np.cumsum(better[order])))
    at = np.linspace(0, len(order), _POINTS).round().astype(int)
    return cost[at] + one.paid @ share, quality[at] + one.kept @ share


def _curve(answered: Answered, one: Tried) -> tuple[Floats, float]:
    """What each `least` gave in cross-validation (`Acceptance.curve`), and the highest that loses
    no more than `TOLERANCE` of the strong candidate's quality."""
    cost, quality = _points(answered, one, np.ones(len(one.gain)))
    falling = -np.sort(-one.gain)
    at = np.linspace(0, len(falling), _POINTS).round().astype(int)
    least = np.append(falling, falling[-1] - 1.0)[at]
    enough = np.flatnonzero(quality >= answered.quality[:, -1].mean() - TOLERANCE)
    chosen = float(least[enough[0]]) if enough.size else float(least[-1])
    return np.column_stack((least, cost, quality)).astype(np.float32), chosen


def _told(point: Sequence[float]) -> dict[str, float]:
    least, usd, quality = point
    return {
        "least": round(least, 4),
        "usd_per_1k": round(usd * 1000, 6),
        "quality": round(quality, 4),
    }
