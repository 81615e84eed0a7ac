"""One wave of a job that is decided as a whole: who should answer all that is left, and which
part of it goes out now.

While there is much money a wave is the next of the job's requests; where it does not reach for
all, those that cost least, so that as many as possible are answered. Money is promised by upper
bounds, though, and a bound may be many times the cost, so towards the end (`serial`) more care
is needed: the dearest go first, while there is room for their bounds; nothing goes out that
could leave one of the others without room for its cheapest candidate; and what the answers do
not use is planned again with the next wave.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from routing.batch.allocation import Allocation, Capacity, DoesNotFitError, allocate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WAVES: Final = 12
LEAST_WAVE: Final = 10
MOST_WAVE: Final = 50_000
PLENTY: Final = 500
"""Largest bounds that have to be left after a wave for it to need no care."""

_ROOM: Final = 1.02
_NOTHING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Money:
    """Dollars: `free` is neither spent nor promised by a bound, `likely` what will be left when
    all that is out has cost what is expected."""

    free: float
    likely: float


@dataclass(frozen=True, slots=True)
class Left:
    """The requests of a job that nobody has yet, in their order: expected `quality` and `cost`
    [n, m] in dollars, and the `bounds` [n, m] of a call's cost; NaN in the quality where a
    candidate cannot be had. Each has one at least."""

    quality: Floats
    cost: Floats
    bounds: Floats

    def part(self, rows: Ints) -> "Left":
        """Some of them."""
        return Left(self.quality[rows], self.cost[rows], self.bounds[rows])


@dataclass(frozen=True, slots=True)
class Aim:
    """What is aimed at within the money: the mean `quality` of what is left, or else as much of
    it as `money` (an aim, not a limit) buys, or else what is worth its `price` (quality a
    dollar). `calls` [m] are the candidates' capacities."""

    quality: float | None = None
    money: float | None = None
    price: float = 0.0
    calls: Floats | None = None


@dataclass(frozen=True, slots=True)
class Wave:
    """`rows` go out now, each to its candidate of `choice`; `quality` and `spend` (dollars) are
    expected of all that is left; `why` says what had to give, in words. `choice` is -1 for what
    cannot be paid just now."""

    rows: Ints
    choice: Ints
    price: float
    call_prices: Floats
    quality: float
    spend: float
    serial: bool
    why: tuple[str, ...]


def wave_size(planned: int, left: int) -> int:
    """How many of `planned` requests a wave has while `left` are left."""
    return min(left, MOST_WAVE, max(LEAST_WAVE, -(-planned // WAVES)))


def plan_wave(left: Left, money: Money | None, aim: Aim, size: int) -> Wave:
    """Decides for all that is left, and picks up to `size` of them."""
    n = len(left.quality)
    may = np.isfinite(left.quality)
    serial = money is not None and _is_scarce(left, may, money, size)
    slack, by_guarantee = 0.0, False
    least = np.where(may, left.bounds, np.inf).min(axis=1)
    if money is not None and serial:
        slack = money.free - float(least.sum())
        by_guarantee = slack >= 0
        room = least[:, None] + slack if by_guarantee else np.full((n, 1), money.free)
        may &= left.bounds <= room * (1 + 1e-12)
    paid = np.flatnonzero(may.any(axis=1))
    choice = np.full(n, -1)
    if not len(paid):
        return Wave(paid, choice, 0.0, np.zeros(may.shape[1]), 0.0, 0.0, serial, ())
    some = left.part(paid)
    # The last request's bound has to be free when its turn comes.
    kept = 0.0 if by_guarantee or not serial else float(least[paid].min())
    found, why = _decide(some, may[paid], money, aim, kept)
    choice[paid] = found.choice
    if money is not None and not serial and _ample(some, found, money, aim):
        size = MOST_WAVE
    lacks = money is not None and _lacks(some, may[paid], money)
    order = _order(some, found.choice, serial=serial, lacks=lacks)
    if money is not None and serial:
        room = slack if by_guarantee else money.free
        kept_for = least[paid] if by_guarantee else np.zeros(len(paid))
        order = _affordable(some, found.choice, order, kept_for, room)
    rows = paid[order[:size]]
    return Wave(
        np.sort(rows),
        choice,
        found.price,
        found.call_prices,
        found.quality,
        found.spend,
        serial,
        tuple(why),
    )


def _is_scarce(left: Left, may: NDArray[np.bool_], money: Money, size: int) -> bool:
    """Whether single bounds count beside what will be left after the wave."""
    largest = float(np.where(may, left.bounds, 0.0).max())
    return min(money.free, money.likely) * (1 - size / len(may)) < PLENTY * largest


def _ample(left: Left, found: Allocation, money: Money, aim: Aim) -> bool:
    """Whether the best for all can be paid whatever it costs: then a later wave knows no better."""
    limited = aim.quality is not None or aim.money is not None or aim.calls is not None
    bounds = left.bounds[np.arange(len(found.choice)), found.choice]
    return not limited and found.price <= _NOTHING and float(bounds.sum()) <= money.free


def _lacks(left: Left, may: NDArray[np.bool_], money: Money) -> bool:
    """Whether there is too little for the cheapest answers to all."""
    return float(np.where(may, left.cost, np.inf).min(axis=1).sum()) > money.likely


def _order(left: Left, choice: NDArray[Any], *, serial: bool, lacks: bool) -> Ints:
    """Who goes first: where not all can be answered the cheapest, so that most are; the dearest
    where single bounds count; or as they come."""
    rows = np.arange(len(choice))
    if lacks:
        return np.argsort(left.cost[rows, choice], kind="stable")
    return np.argsort(-left.bounds[rows, choice], kind="stable") if serial else rows


def _affordable(
    left: Left, choice: NDArray[Any], order: Ints, kept_for: Floats, room: float
) -> Ints:
    """The first in this order, as many as `room` can promise beside what is kept for each."""
    takes = left.bounds[np.arange(len(choice)), choice] - kept_for
    fits = np.cumsum(takes[order]) <= room * (1 + 1e-12)
    # The first was found affordable by itself.
    return order[: max(1, int(fits.sum()))]


def _decide(
    left: Left, may: NDArray[np.bool_], money: Money | None, aim: Aim, kept: float
) -> tuple[Allocation, list[str]]:
    """The allocation, and what had to give for it."""
    why: list[str] = []
    limits: dict[str, Any] = {}
    if aim.quality is not None:
        limits["least_quality"] = aim.quality
    budget = None if money is None else money.likely - kept
    if aim.money is not None and aim.quality is None:
        budget = aim.money if budget is None else min(budget, aim.money)
    if budget is not None:
        limits["budget"] = max(budget, 0.0)
    if aim.calls is not None:
        limits["capacity"] = Capacity(calls=aim.calls.tolist())
    quality = left.quality
    if not {"budget", "least_quality"} & limits.keys():
        quality = left.quality - aim.price * left.cost
    while True:
        try:
            found = allocate(quality, left.cost, feasible=may, **limits)
        except DoesNotFitError as error:
            why.append(_gives_way(error, limits, len(may)))
        else:
            return _true(found, left, aim, weighed=quality is not left.quality), why


def _gives_way(error: DoesNotFitError, limits: dict[str, Any], n: int) -> str:
    """Takes back what cannot be kept, and says so."""
    if error.constraint == "quality" or (
        error.constraint == "budget" and "least_quality" in limits
    ):
        asked = limits.pop("least_quality")
        limits.setdefault("budget", np.inf)
        return f"a mean quality of {asked:.3f} cannot be reached for what is left"
    if error.constraint == "budget" and "capacity" not in limits:
        short = limits["budget"]
        limits["budget"] = error.least * (1 + 1e-6)
        return f"about ${error.least - short:.4g} are missing for the cheapest answers to all"
    capacity = limits.pop("capacity")
    calls = np.asarray(capacity.calls)
    if error.constraint == "calls" and 0 < calls.sum() < n:
        # Everybody has as much more than its share of the work.
        limits["capacity"] = Capacity(calls=np.ceil(calls * n / calls.sum() * _ROOM).tolist())
        return f"the deadline allows about {calls.sum():.0f} of {n} calls"
    return f"limits are not kept in time: {error}"


def _true(found: Allocation, left: Left, aim: Aim, *, weighed: bool) -> Allocation:
    """The allocation in quality, where it was found in quality less money."""
    if not weighed:
        return found
    rows = np.arange(len(found.choice))
    return Allocation(
        found.choice,
        aim.price,
        found.call_prices,
        found.token_prices,
        float(left.quality[rows, found.choice].mean()),
        found.spend,
        found.counts,
    )
