"""What a wave sends out, decided on all that is left of a job and known of it.

Imports numpy; `tasks/plan.py` loads this module where there is something to plan.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.plan import USUAL, indexes
from core.settings import configured_name
from routing.batch.waves import MOST_WAVE, Aim, Left, Money, Wave, plan_wave, wave_size
from tasks.health import OPEN
from tasks.waves.capacity import calls
from tasks.waves.chunks import released
from tasks.waves.returned import returned
from tasks.waves.rows import Decided, Floats, Ints, Predictions, Requests, Seen

__all__ = ["Seen", "decide", "released"]

NANO: Final = 1e9
SURE: Final = 10.0
"""Answers that have to cost otherwise than expected before that counts for half."""

_LONG: Final = 60.0


def decide(seen: Seen) -> Decided:
    """The wave. Nothing is `touched` where no request that is left can be paid now."""
    told, requests = Predictions(seen.foreseen), Requests(seen.waiting)
    factors = _factors(seen, told)
    quality, cost = told.of(requests.seqs)
    cost *= factors
    back = returned(seen, told.names, requests, quality, cost)
    quality[~_may(seen, told.names, requests)] = np.nan
    foreseen = np.asarray(np.isfinite(quality).any(axis=1), np.bool_)
    rows = np.flatnonzero(foreseen)
    if not len(rows):
        return _sent(seen, requests, np.arange(len(foreseen))[:MOST_WAVE], None, [], {})
    bounds = np.stack([_bounds(seen, name, requests) for name in told.names], axis=1)
    left = Left(quality, cost, bounds)
    if len(rows) < len(foreseen):
        left = left.part(rows)
    money, likely_out = _money(seen, told, factors)
    out = seen.job.released - int(back.rows.sum())
    reached = seen.job.quality - float(back.quality.sum())
    aim = _aim(seen, told.names, requests, _still(seen, out, reached, len(rows)), likely_out)
    adapts = money is not None or aim.quality is not None or aim.money is not None
    size = wave_size(out + len(rows), len(rows))
    if not adapts and aim.calls is None:
        size = min(len(rows), MOST_WAVE)
    wave = plan_wave(left, money, aim, size)
    choice = np.full(len(foreseen), -1)
    choice[rows] = wave.choice
    plain = np.flatnonzero(~foreseen)
    order = [told.names[at] for at in np.argsort(-_worth(left, wave.price))]
    gone = np.concatenate([plain, rows[wave.rows]])
    facts = _facts(seen, told.names, left, wave, factors, money, len(plain))
    if back.rows[gone].any():
        facts["again"] = back.told(gone)
    return _sent(seen, requests, gone, (choice, told.names), order, facts)


def _worth(left: Left, price: float) -> Floats:
    """float64[m]: what the candidates are worth on average, where they can be had at all."""
    worth = left.quality - min(price, 1e9) * left.cost
    known = np.isfinite(worth)
    sums = np.where(known, worth, 0.0).sum(axis=0)
    had = known.any(axis=0)
    return np.where(had, sums / np.maximum(known.sum(axis=0), 1), -np.inf)


def _bounds(seen: Seen, name: str, requests: Requests) -> Floats:
    """What each request costs at most at a candidate, by the first of its lines. One that the
    configuration has lost is nobody's choice."""
    lines = (one for line, one in seen.deployments.items() if configured_name(line) == name)
    first = next(lines, None)
    return np.zeros(len(requests.seqs)) if first is None else requests.bounds(first)


def _may(seen: Seen, names: Sequence[str], requests: Requests) -> NDArray[np.bool_]:
    """bool[n, m]: whom the requests may still go to, by their plans, and who is there."""
    by_chunk = np.zeros((len(seen.waiting), len(names)), np.bool_)
    for number, one in enumerate(seen.waiting):
        plan = seen.plans[one.plan_id]
        if one.among != USUAL:
            continue
        able = {
            configured_name(plan.candidates[index])
            for index in indexes(plan.mask() & ~one.excluded)
            if index < plan.own and plan.candidates[index] in seen.deployments
        }
        open_ = {name for name in able if not _away(seen, name)}
        by_chunk[number] = [name in (open_ or able) for name in names]
    return np.asarray(by_chunk[requests.chunk], np.bool_)


def _away(seen: Seen, name: str) -> bool:
    """Whether none of its lines takes work, nor will soon."""
    lines = [line for line in seen.deployments if configured_name(line) == name]
    standing = [seen.standing.get(line, OPEN) for line in lines]
    return all(not one.binds and (one.reopens is None or one.reopens > _LONG) for one in standing)


def _factors(seen: Seen, told: Predictions) -> Floats:
    """float64[m]: what answers truly cost, as a multiple of what was expected of them."""
    factors = np.ones(len(told.names))
    seqs, costs = np.array(seen.answered.seqs, np.int64), np.array(seen.answered.costs_nusd)
    by = np.array([configured_name(one) for one in seen.answered.deployments])
    for column, name in enumerate(told.names):
        mine = by == name
        expected = told.costs_at(seqs[mine], name) if mine.any() else np.zeros(0)
        if expected.sum() > 0:
            prior = SURE * expected.mean()
            factors[column] = (costs[mine].sum() / NANO + prior) / (expected.sum() + prior)
    return factors


def _money(seen: Seen, told: Predictions, factors: Floats) -> tuple[Money | None, float]:
    """What is left under the limits, and what is likely to be spent by what is out."""
    by_name = dict(zip(told.names, factors.tolist(), strict=True))
    likely_out = sum(
        float(told.costs_at(np.array(one.seqs, np.int64), one.deployment).sum())
        * by_name.get(configured_name(one.deployment), 1.0)
        for one in seen.out
    )
    if seen.job.room_nusd is None:
        return None, likely_out
    promised = seen.job.reserved_nusd + sum(one.bound_nusd for one in seen.out)
    free = (seen.job.room_nusd - promised) / NANO
    return Money(free, seen.job.room_nusd / NANO - likely_out), likely_out


def _still(seen: Seen, out: int, reached: float, n: int) -> float | None:
    """The mean quality of what is left with which the whole job's mean is what the route aims at;
    `out` requests are gone already, of `reached` quality together. None without such an aim."""
    if seen.router is None or seen.router.quality is None:
        return None
    return (seen.router.quality * (out + n) - reached) / n


def _aim(
    seen: Seen, names: Sequence[str], requests: Requests, quality: float | None, likely_out: float
) -> Aim:
    job, router = seen.job, seen.router
    money = None
    if router is not None and router.usd_per_1k is not None:
        money = max(0.0, router.usd_per_1k / 1000 * job.total - job.spent_nusd / NANO - likely_out)
    return Aim(quality, money, seen.price, calls(seen, names, requests))


def _facts(
    seen: Seen,
    names: Sequence[str],
    left: Left,
    wave: Wave,
    factors: Floats,
    money: Money | None,
    plain: int,
) -> dict[str, Any]:
    """What is kept of the wave, for people and for the next one."""
    choice = wave.choice[wave.rows]
    counts = np.bincount(choice, minlength=len(names)) if len(choice) else np.zeros(len(names))
    gone = len(choice) + plain
    return {
        "requests": gone,
        "left": len(left.quality) - len(choice),
        "quality": float(left.quality[wave.rows, choice].mean()) if len(choice) else 0.0,
        "usd": float(left.cost[wave.rows, choice].sum()),
        "whole": {"quality": wave.quality, "usd": wave.spend},
        "spent_usd": seen.job.spent_nusd / NANO,
        "free_usd": None if money is None else money.free,
        "price": float(wave.price) if np.isfinite(wave.price) else None,
        "call_prices": _told(names, wave.call_prices, above=1e-9),
        "shares": {name: int(count) for name, count in zip(names, counts, strict=True) if count},
        "factors": _told(names, factors, above=0.0),
        "serial": wave.serial,
        "low": gone // 2,
        "why": list(wave.why),
    }


def _told(names: Sequence[str], values: Floats, above: float) -> dict[str, float]:
    found = zip(names, values.tolist(), strict=True)
    return {name: float(f"{value:.4g}") for name, value in found if value > above}


def _sent(
    seen: Seen,
    requests: Requests,
    gone: Ints,
    chosen: tuple[Ints, Sequence[str]] | None,
    order: Sequence[str],
    facts: dict[str, Any],
) -> Decided:
    """The rows by chunk and candidate, and what stays of the chunks."""
    groups: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row in np.sort(gone).tolist():
        at = -1 if chosen is None else int(chosen[0][row])
        name = "" if at < 0 or chosen is None else chosen[1][at]
        groups[int(requests.chunk[row]), name].append(int(requests.place[row]))
    stays = np.ones(len(requests.seqs), np.bool_)
    stays[gone] = False
    kept: dict[int, list[int]] = {}
    empty: list[int] = []
    for number in sorted({number for number, _ in groups}):
        id_ = seen.waiting[number].id
        places = (requests.place[(requests.chunk == number) & stays] + 1).tolist()
        if places:
            kept[id_] = places
        else:
            empty.append(id_)
    bare = {"requests": len(gone), "left": int(stays.sum()), "quality": 0.0, "low": len(gone) // 2}
    return Decided(groups, order, [*kept, *empty], kept, empty, facts or bare)
