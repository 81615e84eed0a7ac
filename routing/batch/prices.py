"""The assignment of many requests to few candidates under a handful of limits.

A linear program whose dual prices say it all: at the right prices every request takes what is
worth most to it after prices, and only the few requests that are nearly indifferent have to be
looked at together.

1. The prices: the dual of the program is convex in at most 1 + 2m prices. It is smoothed (a soft
   maximum of temperature tau for the maximum) and minimised by Newton's method with backtracking,
   first on a sample with falling tau, then in a last step on all requests.
2. The `CORE` most indifferent requests are solved exactly by the linear program, on what the
   others leave (the core of a knapsack problem: Balas and Zemel 1980); more of them where that
   does not fit.
3. A vertex of the program has no more fractional requests than limits; these are rounded by
   search, and what is left is spent.

Identical requests are told apart by a jitter far below any difference that counts.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAMPLE: Final = 40_000
TEMPERATURES: Final = (0.2, 0.05, 0.01, 0.002)
"""Of the soft maximum, in mean gains."""

STEPS, LAST_STEPS, HALVINGS = 12, 1, 6
CORE: Final = 1_000
MOST_CORE: Final = 16_000
MOST_PRICE: Final = 50.0
"""In mean gains: where the descent ends."""

PASSING: Final = 1e5
"""What the program pays for passing a limit: more than any true price, which is high where a little
more of a limit brings much (candidates of nearly the same cost and very unlike quality)."""

JITTER: Final = 2e-5
_TOLERANCE: Final = 1e-6
_NOISE: Final = 1e-9
_BLOCK: Final = 65_536
_NODES: Final = 20_000
_FILLS: Final = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be used: of the side, and of each candidate's calls and tokens; inf where
    nothing limits it."""

    side: float
    calls: Floats
    tokens: Floats

    def times(self, share: float) -> "Limits":
        """As much of all of it."""
        return Limits(self.side * share, self.calls * share, self.tokens * share)

    def less(self, used: "Limits") -> "Limits":
        """What the use leaves."""
        return Limits(self.side - used.side, self.calls - used.calls, self.tokens - used.tokens)

    def flat(self) -> Floats:
        """float64[1 + 2m]: the side, the calls, the tokens."""
        return np.concatenate([[self.side], self.calls, self.tokens])


@dataclass(frozen=True, slots=True)
class Problem:
    """Maximise the sum of `gain` [n, m] over one candidate each, within `limits`: the sum of
    `side` [n, m], the calls of each candidate, and their `tokens` [n]. Only `may` [n, m] pairs
    count. All in units of about one."""

    gain: Floats
    side: Floats
    tokens: Floats
    may: NDArray[np.bool_]
    limits: Limits

    def used(self, rows: Ints, choice: Ints) -> Limits:
        """What these requests use with these candidates."""
        m = self.gain.shape[1]
        return Limits(
            float(self.side[rows, choice].sum(dtype=np.float64)),
            np.asarray(np.bincount(choice, minlength=m), np.float64),
            np.asarray(np.bincount(choice, self.tokens[rows], m), np.float64),
        )

    def worth(self, rows: Ints, prices: Limits) -> Floats:
        """float64[k, m]: gains after prices, -inf where a pair may not be."""
        told = self.gain[rows] - prices.side * self.side[rows] - prices.calls
        if prices.tokens.any():
            told -= self.tokens[rows, None] * prices.tokens
        told[~self.may[rows]] = -np.inf
        return told


class NoRoomError(Exception):
    """No assignment keeps the limits; `excess` is the least that they are passed by, in all."""

    def __init__(self, excess: Limits) -> None:
        super().__init__("no assignment keeps the limits")
        self.excess = excess


def solve(problem: Problem) -> tuple[Ints, Limits]:
    """Each request's candidate, and the prices of the side, the calls and the tokens.

    Raises NoRoomError.
    """
    n = len(problem.gain)
    if n <= CORE:
        return _assign(problem, None)
    rows = np.arange(n)
    flat = np.zeros(1 + 2 * problem.gain.shape[1])
    if n > SAMPLE:
        rows = np.sort(np.random.default_rng(0).permutation(n)[:SAMPLE])
    for tau in TEMPERATURES:
        flat = _descend(Dual(problem, rows, tau), flat, STEPS)
    if n > SAMPLE:
        flat = _descend(Dual(problem, np.arange(n), TEMPERATURES[-1]), flat, LAST_STEPS)
    return _assign(problem, _limits(flat, problem.gain.shape[1]))


@dataclass(frozen=True, slots=True)
class Dual:
    """The smoothed dual of the rows with their share of the limits, by request."""

    problem: Problem
    rows: Ints
    tau: float

    def look(self, flat: Floats) -> tuple[float, Floats, Floats]:
        """Value, gradient [K] and Hessian [K, K] at the prices; zero where there is no limit."""
        problem, tau = self.problem, self.tau
        n, m = len(self.rows), problem.gain.shape[1]
        limits = problem.limits.times(1 / len(problem.gain)).flat()
        real = np.isfinite(limits)
        value, used = 0.0, np.zeros(1 + 2 * m)
        second = np.zeros((1 + 2 * m, 1 + 2 * m))
        for at in range(0, n, _BLOCK):
            rows = self.rows[at : at + _BLOCK]
            worth = problem.worth(rows, _limits(flat, m))
            top = worth.max(axis=1)
            soft = np.exp((worth - top[:, None]) / tau)
            whole = soft.sum(axis=1)
            value += float(top.sum() + tau * np.log(whole).sum())
            soft /= whole[:, None]
            self._add(rows, soft, used, second)
        gradient = np.where(real, np.where(real, limits, 0.0) - used / n, 0.0)
        second[~real], second[:, ~real] = 0.0, 0.0
        return value / n + float(flat[real] @ limits[real]), gradient, second / (n * tau)

    def _add(self, rows: Ints, soft: Floats, used: Floats, second: Floats) -> None:
        """Adds the rows' expected use, and its covariances."""
        m = soft.shape[1]
        side, tokens = self.problem.side[rows], self.problem.tokens[rows, None]
        told = np.concatenate([(soft * side).sum(axis=1)[:, None], soft, soft * tokens], axis=1)
        used += told.sum(axis=0)
        second -= told.T @ told
        second[0, 0] += float((soft * side * side).sum())
        powers = [(soft * side * tokens**k).sum(axis=0) for k in (0, 1)]
        own = [(soft * tokens**k).sum(axis=0) for k in (0, 1, 2)]
        calls, counted = np.arange(1, 1 + m), np.arange(1 + m, 1 + 2 * m)
        for at, sums in ((calls, powers[0]), (counted, powers[1])):
            second[0, at] += sums
            second[at, 0] += sums
        second[calls, calls] += own[0]
        second[counted, counted] += own[2]
        second[calls, counted] += own[1]
        second[counted, calls] += own[1]


def _descend(dual: Dual, flat: Floats, steps: int) -> Floats:
    """Prices, none below zero, where the dual is lower."""
    value, gradient, second = dual.look(flat)
    for _ in range(steps):
        free = ~((flat <= 0) & (gradient >= 0)) & ((gradient != 0) | (flat > 0))
        if not free.any() or np.abs(gradient[free]).max() < _TOLERANCE:
            break
        damped = second[np.ix_(free, free)]
        damped = damped + np.eye(len(damped)) * (1e-6 + 1e-4 * np.trace(damped) / len(damped))
        step = np.zeros_like(flat)
        step[free] = np.linalg.solve(damped, -gradient[free])
        for _ in range(HALVINGS):
            tried = np.clip(flat + step, 0.0, MOST_PRICE)
            told = dual.look(tried)
            if told[0] <= value:
                break
            step /= 4
        else:
            break
        flat, (value, gradient, second) = tried, told
    return flat


def _assign(problem: Problem, prices: Limits | None) -> tuple[Ints, Limits]:
    rows = np.arange(len(problem.gain))
    size = CORE
    while True:
        core, fixed, choice = _split(problem, rows, prices, size)
        left = problem.limits.less(problem.used(fixed, choice))
        found = _program(problem, core, left)
        whole = len(core) == len(rows) or size >= MOST_CORE
        # The program keeps a margin of one tolerance itself; rounding looks at the true limits.
        if found.excess.flat().max(initial=0.0) <= 2 * _TOLERANCE * max(1, len(core)):
            rounded = _rounded(problem, core, found, left)
            if rounded is None:
                found = _program(problem, core, _tight(problem, left))
                rounded = _rounded(problem, core, found, left)
            if rounded is not None:
                assigned = np.empty(len(rows), np.int64)
                assigned[fixed], assigned[core] = choice, rounded
                return assigned, found.prices
        if whole:
            raise NoRoomError(found.excess)
        prices, size = found.prices if prices is None else prices, size * 4


def _tight(problem: Problem, left: Limits) -> Limits:
    """Limits with room for one request more of the largest kind: budget and calls can always be
    rounded, tokens only so."""
    return Limits(left.side, left.calls, left.tokens - problem.tokens.max())


def _split(
    problem: Problem, rows: Ints, prices: Limits | None, size: int
) -> tuple[Ints, Ints, Ints]:
    """The most indifferent of the rows, the others, and what these choose at the prices."""
    if prices is None or len(rows) <= size:
        return rows, rows[:0], rows[:0]
    choice = np.empty(len(rows), np.int64)
    margin = np.empty(len(rows))
    for at in range(0, len(rows), _BLOCK):
        worth = problem.worth(rows[at : at + _BLOCK], prices)
        best = worth.argmax(axis=1)
        lines = np.arange(len(worth))
        top = worth[lines, best]
        worth[lines, best] = -np.inf
        choice[at : at + _BLOCK] = best
        margin[at : at + _BLOCK] = top - worth.max(axis=1)
    near = np.zeros(len(rows), np.bool_)
    near[np.argpartition(margin, size)[:size]] = True
    return rows[near], rows[~near], choice[~near]


@dataclass(frozen=True, slots=True)
class _Found:
    """A program's solution: shares [k, m], prices, and by how much limits are passed."""

    shares: Floats
    prices: Limits
    excess: Limits


def _program(problem: Problem, rows: Ints, left: Limits) -> _Found:
    """The linear program over these rows; a limit may be passed at PASSING."""
    m = problem.gain.shape[1]
    flat = left.flat()
    kept = np.flatnonzero(np.isfinite(flat))
    shares = np.zeros((len(rows), m))
    prices, excess = np.zeros(1 + 2 * m), np.zeros(1 + 2 * m)
    lines, columns = np.nonzero(problem.may[rows])
    if not len(kept):
        shares[np.arange(len(rows)), problem.worth(rows, _limits(prices, m)).argmax(axis=1)] = 1.0
        return _Found(shares, _limits(prices, m), _limits(excess, m))
    uses = _uses(problem, rows, lines, columns)[kept]
    count = len(lines)
    one_each = sparse.csr_array(
        (np.ones(count), (lines, np.arange(count))), shape=(len(rows), count + len(kept))
    )
    found: Any = linprog(
        np.concatenate([-problem.gain[rows[lines], columns], np.full(len(kept), PASSING)]),
        A_ub=sparse.hstack([uses, -sparse.eye_array(len(kept))], format="csr"),
        b_ub=flat[kept] - _margin(m)[kept],
        A_eq=one_each,
        b_eq=np.ones(len(rows)),
        method="highs-ds",
    )
    if found.status != 0:
        raise ArithmeticError(f"the linear program was not solved: {found.message}")
    shares[lines, columns] = found.x[:count]
    excess[kept] = found.x[count:]
    prices[kept] = -found.ineqlin.marginals
    return _Found(shares, _limits(np.maximum(prices, 0.0), m), _limits(excess, m))


def _uses(problem: Problem, rows: Ints, lines: Ints, columns: Ints) -> sparse.csr_array:
    """[1 + 2m, pairs]: what each pair uses of each limit."""
    m = problem.gain.shape[1]
    count = len(lines)
    at = np.arange(count)
    values = [problem.side[rows[lines], columns], np.ones(count), problem.tokens[rows[lines]]]
    kinds = [np.zeros(count, np.int64), 1 + columns, 1 + m + columns]
    return sparse.csr_array(
        (np.concatenate(values), (np.concatenate(kinds), np.tile(at, 3))),
        shape=(1 + 2 * m, count),
    )


def _margin(m: int) -> Floats:
    """The program may pass limits by its tolerance; calls are whole numbers afterwards."""
    margin = np.full(1 + 2 * m, _TOLERANCE)
    margin[1 : 1 + m] = 0.0
    return margin


def _limits(flat: Floats, m: int) -> Limits:
    return Limits(float(flat[0]), flat[1 : 1 + m], flat[1 + m :])


def _rounded(problem: Problem, core: Ints, found: _Found, left: Limits) -> Ints | None:
    """Whole numbers near the program's, within the limits; None where there are none."""
    choice = found.shares.argmax(axis=1)
    split = np.flatnonzero(found.shares.max(axis=1) < 1 - _TOLERANCE)
    sure = np.setdiff1d(np.arange(len(core)), split)
    room = left.less(problem.used(core[sure], choice[sure])).flat()
    worth = problem.worth(core[split], found.prices)
    search = _Search(problem, core[split], worth, room)
    if search.place(0):
        choice[split] = search.chosen
        return _filled(problem, core, choice, left)
    return None


class _Search:
    """Depth first: the rows that the program splits, each with what is worth most to it and
    leaves room for the rest."""

    def __init__(self, problem: Problem, rows: Ints, worth: Floats, room: Floats) -> None:
        self.chosen = np.zeros(len(rows), np.int64)
        self._problem = problem
        self._rows = rows
        self._worth = worth
        self._room = room
        self._nodes = _NODES

    def place(self, number: int) -> bool:
        """Whether all rows from this one on find a place."""
        if number == len(self._rows):
            return bool(self._room.min() >= -_NOISE)
        m = self._worth.shape[1]
        row = self._rows[number]
        for option in np.argsort(-self._worth[number], kind="stable"):
            if self._worth[number, option] == -np.inf or self._nodes <= 0:
                break
            self._nodes -= 1
            use = np.zeros(1 + 2 * m)
            use[0] = self._problem.side[row, option]
            use[1 + option], use[1 + m + option] = 1.0, self._problem.tokens[row]
            # The side may be negative, and a later row may bring it back.
            if (self._room[1:] - use[1:] >= -_NOISE).all():
                self._room = self._room - use
                self.chosen[number] = option
                if self.place(number + 1):
                    return True
                self._room = self._room + use
        return False


def _filled(problem: Problem, rows: Ints, choice: Ints, left: Limits) -> Ints:
    """Spends what rounding has left: one change at a time, that which gains most."""
    lines = np.arange(len(rows))
    room = left.less(problem.used(rows, choice))
    for _ in range(_FILLS):
        gains = problem.gain[rows] - problem.gain[rows, choice][:, None]
        sides = problem.side[rows] - problem.side[rows, choice][:, None]
        can = problem.may[rows] & (sides <= room.side) & (room.calls >= 1)
        can &= problem.tokens[rows][:, None] <= room.tokens
        gains[~can] = 0.0
        best = int(gains.argmax())
        line, option = divmod(best, gains.shape[1])
        if gains[line, option] <= JITTER:
            break
        choice[lines[line]] = option
        room = left.less(problem.used(rows, choice))
    return choice
