"""The whole batch as one decision: who answers which request, within a budget and capacities.

    best quality within a budget       maximise sum q    where sum c <= budget
    least cost for a stated quality    minimise sum c    where sum q >= n * quality

both with each candidate's calls and tokens (rate times the time that is left) as upper limits,
and pairs that may not be left out. `routing/batch/prices.py` solves it; here it is stated, and told
in words when nothing fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from routing.batch.prices import JITTER, Limits, NoRoomError, Problem, solve

MOST_CANDIDATES: Final = 127
_EPSILON: Final = 1e-12
TIE: Final = 3e-4
"""What is as good but cheaper, or as cheap but better, wins: a mean cost weighs so many mean
qualities, and the other way round. Above the jitter for all but the closest prices."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What each candidate can take, in the candidates' order: `calls`, and `tokens` in and out.
    Inf, or an empty list, is no limit."""

    calls: Sequence[float] = ()
    tokens: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Allocation:
    """`choice` int8[n] is each request's candidate. `price` is the quality that one more dollar
    would bring, inf where more quality could not be had for less; `call_prices` and
    `token_prices` float64[m] the quality that one more call, or token, of a candidate's capacity
    would bring. `quality` is the expected mean, `spend` the expected sum in dollars, `counts`
    int64[m] are the requests of each candidate."""

    choice: NDArray[np.int8]
    price: float
    call_prices: NDArray[np.float64]
    token_prices: NDArray[np.float64]
    quality: float
    spend: float
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class DoesNotFitError(Exception):
    """Nothing keeps all the limits. `constraint` is `candidates`, `budget`, `quality`, `calls`
    or `tokens`; `asked` what it says, `least` what it would have to say at least (for `quality`:
    at most); for `calls` and `tokens`, `candidate` is the fullest one's number where it is one
    alone."""

    constraint: str
    asked: float
    least: float
    candidate: int | None = field(default=None)

    def __str__(self) -> str:
        match self.constraint:
            case "budget":
                short = self.least - self.asked
                return (
                    f"the budget is ${_usd(self.asked)}, and the least that this costs is about "
                    f"${_usd(self.least)}: ${_usd(short)} more is needed"
                )
            case "quality":
                return (
                    f"a quality of {self.asked:.4g} is asked for, and {self.least:.4g} is the "
                    f"best that can be had: {self.asked - self.least:.4g} too much"
                )
            case "candidates":
                return f"{self.asked:.0f} requests have no candidate that may answer them"
        whose = "all candidates" if self.candidate is None else f"candidate {self.candidate}"
        return (
            f"{whose} can take {self.asked:.0f} {self.constraint}, and about {self.least:.0f} "
            f"are needed: {self.least - self.asked:.0f} too few"
        )


def _usd(amount: float) -> str:
    """Six digits, and never in powers of ten."""
    return np.format_float_positional(amount, precision=6, fractional=False, trim="-")


def allocate(
    quality: NDArray[np.floating[Any]],
    cost: NDArray[np.floating[Any]],
    *,
    budget: float | None = None,
    least_quality: float | None = None,
    capacity: Capacity | None = None,
    tokens: NDArray[np.number[Any]] | None = None,
    feasible: NDArray[np.bool_] | None = None,
) -> Allocation:
    """Chooses a candidate for each request.

    `quality` [n, m] and `cost` [n, m] in dollars are what is expected of each pair; NaN, or
    False in `feasible` [n, m], is a pair that may not be. `tokens` [n] count against the
    capacities in tokens. With `least_quality` (a mean) it costs as little as possible, and
    `budget` is only kept; without, it is as good as possible within the `budget`. The result
    keeps every limit (sums of floats: to nine digits); it is within a few requests of the best
    there is, and the same every time.

    Raises DoesNotFitError where nothing keeps all the limits, ValueError for shapes that do not
    fit.
    """
    may = _may(quality, cost, feasible)
    n, m = may.shape
    calls, token_limits = _capacities(capacity, m)
    counted = np.zeros(n) if tokens is None else np.asarray(tokens, np.float64)
    if counted.shape != (n,):
        raise ValueError(f"tokens are {counted.shape}, not ({n},)")
    if n == 0:
        return _told(np.zeros(0, np.int64), quality, cost, 0.0, np.zeros(m), np.zeros(m))
    if not may.any(axis=1).all():
        raise DoesNotFitError("candidates", float((~may.any(axis=1)).sum()), 0.0)
    aims = least_quality is not None
    _check(quality, cost, may, None if aims else budget, least_quality, calls)
    stated = _Stated(quality, cost, may, counted, aims=aims)
    limit = -least_quality * n if least_quality is not None else budget
    side_limit = np.inf if limit is None else limit
    try:
        choice, prices = solve(stated.problem(side_limit, calls, token_limits))
    except NoRoomError as error:
        raise stated.misfit(error.excess, side_limit, calls, token_limits) from None
    done = _told(choice, quality, cost, *stated.in_quality(prices))
    if aims and budget is not None and done.spend > budget:
        raise DoesNotFitError("budget", budget, done.spend)
    return done


def _may(
    quality: NDArray[Any], cost: NDArray[Any], feasible: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    if quality.ndim != 2 or quality.shape != cost.shape:
        raise ValueError(f"quality is {quality.shape} and cost {cost.shape}: one [n, m] each")
    if not 0 < quality.shape[1] <= MOST_CANDIDATES:
        raise ValueError(f"{quality.shape[1]} candidates: 1 to {MOST_CANDIDATES} can be chosen")
    may: NDArray[np.bool_] = np.isfinite(quality) & np.isfinite(cost)
    if feasible is not None:
        if feasible.shape != quality.shape:
            raise ValueError(f"feasible is {feasible.shape}, quality {quality.shape}")
        may &= feasible
    return may


def _capacities(
    capacity: Capacity | None, m: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    both = []
    for name in ("calls", "tokens"):
        told = getattr(capacity, name) if capacity is not None else ()
        if len(told) not in (0, m):
            raise ValueError(f"{len(told)} capacities in {name} for {m} candidates")
        both.append(np.array(told, np.float64) if len(told) else np.full(m, np.inf))
    return np.floor(both[0] + _EPSILON), both[1]


def _check(
    quality: NDArray[Any],
    cost: NDArray[Any],
    may: NDArray[np.bool_],
    budget: float | None,
    least_quality: float | None,
    calls: NDArray[np.float64],
) -> None:
    """What can be said exactly and at once."""
    if budget is not None:
        least = float(np.where(may, cost, np.inf).min(axis=1).sum(dtype=np.float64))
        if least > budget:
            raise DoesNotFitError("budget", budget, least)
    if least_quality is not None:
        best = float(np.where(may, quality, -np.inf).max(axis=1).mean(dtype=np.float64))
        if best < least_quality:
            raise DoesNotFitError("quality", least_quality, best)
    if calls.sum() < len(may):
        raise DoesNotFitError("calls", float(calls.sum()), len(may))


class _Stated:
    """The problem in units of about one, and its answers back in quality and dollars."""

    def __init__(
        self,
        quality: NDArray[Any],
        cost: NDArray[Any],
        may: NDArray[np.bool_],
        tokens: NDArray[np.float64],
        *,
        aims: bool,
    ) -> None:
        self._aims = aims
        self._may = may
        self._quality_unit = _unit(quality, may)
        self._cost_unit = _unit(cost, may)
        self._token_unit = float(tokens.mean()) or 1.0
        self._tokens = tokens / self._token_unit
        worth = _scaled(quality, may, self._quality_unit)
        price = _scaled(cost, may, self._cost_unit)
        if aims:
            worth, price = np.negative(price, out=price), np.negative(worth, out=worth)
        self._gain, self._side = worth, price
        self._gain -= TIE * self._side
        self._gain += np.random.default_rng(1).random(may.shape) * JITTER

    @property
    def _side_unit(self) -> float:
        return self._quality_unit if self._aims else self._cost_unit

    def problem(
        self, side: float, calls: NDArray[np.float64], tokens: NDArray[np.float64]
    ) -> Problem:
        limits = Limits(side / self._side_unit, calls, tokens / self._token_unit)
        return Problem(self._gain, self._side, self._tokens, self._may, limits)

    def in_quality(self, prices: Limits) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """The price of a dollar, of calls and of tokens, in quality."""
        if not self._aims:
            unit = self._quality_unit
            dollar = prices.side * unit / self._cost_unit
        else:
            # A unit of quality costs `side` units of money.
            dear = prices.side * self._cost_unit / self._quality_unit
            dollar = 1 / dear if dear > _EPSILON else np.inf
            unit = self._cost_unit * dollar if np.isfinite(dollar) else 0.0
        return float(dollar), prices.calls * unit, prices.tokens * unit / self._token_unit

    def misfit(
        self,
        excess: Limits,
        side: float,
        calls: NDArray[np.float64],
        tokens: NDArray[np.float64],
    ) -> DoesNotFitError:
        """The limit that is passed furthest, as a share of itself."""
        n = len(self._may)
        if excess.calls.any() or excess.tokens.any():
            by_calls = excess.calls / np.maximum(calls, 1.0)
            by_tokens = excess.tokens * self._token_unit / np.maximum(tokens, 1.0)
            if by_calls.max() >= by_tokens.max():
                one = int(by_calls.argmax())
                return DoesNotFitError("calls", calls[one], calls[one] + excess.calls[one], one)
            one = int(by_tokens.argmax())
            more = excess.tokens[one] * self._token_unit
            return DoesNotFitError("tokens", tokens[one], tokens[one] + more, one)
        if self._aims:
            short = excess.side * self._quality_unit / n
            return DoesNotFitError("quality", -side / n, -side / n - short)
        return DoesNotFitError("budget", side, side + excess.side * self._cost_unit)


def _unit(values: NDArray[Any], may: NDArray[np.bool_]) -> float:
    """Their mean size: float64, 1 where all are zero."""
    size = np.where(may, values, 0.0)
    return float(np.abs(size, out=size).sum(dtype=np.float64) / may.sum()) or 1.0


def _scaled(values: NDArray[Any], may: NDArray[np.bool_], unit: float) -> NDArray[np.float64]:
    """In this unit, 0 where it may not be. Of a million requests no array is copied needlessly."""
    found = np.where(may, values, 0.0).astype(np.float64, copy=False)
    found /= unit
    return found


def _told(
    choice: NDArray[np.int64],
    quality: NDArray[Any],
    cost: NDArray[Any],
    price: float,
    call_prices: NDArray[np.float64],
    token_prices: NDArray[np.float64],
) -> Allocation:
    rows = np.arange(len(choice))
    return Allocation(
        choice=choice.astype(np.int8),
        price=price,
        call_prices=call_prices,
        token_prices=token_prices,
        quality=float(quality[rows, choice].mean(dtype=np.float64)) if len(choice) else 0.0,
        spend=float(cost[rows, choice].sum(dtype=np.float64)),
        counts=np.bincount(choice, minlength=quality.shape[1]),
    )
