"""Predict: what a router says of the requests of a route chunk.

Imports numpy and what it needs; `tasks/router/foresight.py` loads this module where there is
something to predict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.deployment import Deployment
from core.router import RouterSettings
from core.settings import configured_name
from db.planning import Predicted
from routing.batch.packing import pack, pack_usd, spread
from routing.orders import Orders, Seen, costs_now, order
from routing.targets import Target
from tasks.models import LoadedModel
from tasks.router.foreseen import Asked, Foreseen
from tasks.router.tags import prompt_and_tags


@dataclass(frozen=True, slots=True)
class Route:
    """The requests of one target, what predicts for them, and its settings."""

    target: Target
    router: RouterSettings
    model: LoadedModel
    asked: Sequence[Asked]


@dataclass(frozen=True, slots=True)
class _Told:
    """What was predicted for the requests of a route, and the order that follows."""

    route: Route
    seen: Seen
    orders: Orders


def foresee(routes: Sequence[Route], deployments: Mapping[str, Deployment], seed: int) -> Foreseen:
    """The lines of each request in the order to ask them in, and the predictions to keep.
    The same `seed` draws the same lots."""
    told = [_tell(route, deployments, seed + place) for place, route in enumerate(routes)]
    lines: dict[int, tuple[str, ...]] = {}
    waiting: set[int] = set()
    for one in told:
        named = _lines_by_order(one)
        drawn = one.orders.explored.tolist()
        for asked, columns, explored in zip(one.route.asked, one.orders.order, drawn, strict=True):
            lines[asked.seq] = named[columns]
            if one.route.target.choose == "optimize" and not explored:
                waiting.add(asked.seq)
    leasts = {one.target.route: least for one in routes if (least := _least(one)) is not None}
    return Foreseen(lines, frozenset(waiting), _packed(told), _reasons(told), leasts=leasts)


def _tell(route: Route, deployments: Mapping[str, Deployment], seed: int) -> _Told:
    model = route.model.model
    by_name: dict[str, list[Deployment]] = {}
    for line in route.target.candidates:
        by_name.setdefault(configured_name(line), []).append(deployments[line])
    names = tuple(name for name in by_name if name in model.candidates)
    columns = [model.candidates.index(name) for name in names]
    pairs = [prompt_and_tags(one.body, one.metadata) for one in route.asked]
    said = model.predict([text for text, _ in pairs], [tags for _, tags in pairs])
    tokens = np.array([one.size.tokens for one in route.asked], np.float32)
    outputs = np.array([one.size.output for one in route.asked], np.float32)
    quality = said.quality[:, columns].copy()
    for column, name in enumerate(names):
        window = _window(by_name[name])
        if window is not None:
            quality[tokens + outputs > window, column] = np.nan
    cost = costs_now(
        said.cost[:, columns],
        names,
        tokens,
        outputs,
        then=model.info.get("prices", {}),
        now={name: by_name[name][0].price for name in names},
    )
    base = np.asarray(model.base)[columns]
    seen = Seen(names, quality, cost, base, _steps(route, names))
    return _Told(route, seen, order(route.target.choose, route.router, seen, seed))


def _steps(route: Route, names: tuple[str, ...]) -> tuple[int, ...]:
    """The columns that the model's cascade asks, as far as the route has them; the best one alone
    where the model has no cascade, and none where the route goes by no such."""
    cascade, model = route.target.cascade, route.model.model
    if cascade is None or cascade.accept != "learned":
        return ()
    scorer = model.acceptance
    if scorer is None:
        return (
            max(range(len(names)), key=lambda at: model.base[model.candidates.index(names[at])]),
        )
    return tuple(names.index(one) for one in (*scorer.asked, scorer.strong) if one in names)


def _least(route: Route) -> float | None:
    """From which gain on the model's cascade asks the strong candidate, by what the route aims at;
    None where it has no cascade, or no aim."""
    router, scorer = route.router, route.model.model.acceptance
    if scorer is None or not router.aims:
        return None
    usd = None if router.usd_per_1k is None else router.usd_per_1k / 1000
    return float(scorer.least_for(router.quality, usd))


def _window(lines: Sequence[Deployment]) -> int | None:
    """The largest window among the keys of a deployment; None where it is not known."""
    known = [line.context for line in lines]
    return None if None in known else max(one for one in known if one is not None)


def _lines_by_order(told: _Told) -> dict[tuple[int, ...], tuple[str, ...]]:
    """By each order of candidates the lines in that order, those behind them that the model
    does not know; a trained cascade has no others."""
    target = told.route.target
    found = {}
    for columns in set(told.orders.order):
        ranks = {told.seen.names[column]: rank for rank, column in enumerate(columns)}
        last = len(ranks)
        lines = [
            line
            for line in target.candidates
            if not told.seen.steps or configured_name(line) in ranks
        ]
        found[columns] = tuple(
            sorted(lines, key=lambda line: ranks.get(configured_name(line), last))
        )
    return found


def _packed(told: Sequence[_Told]) -> Predicted:
    """All predictions in the order of seq, over the candidates of all routes."""
    names = list(dict.fromkeys(name for one in told for name in one.seen.names))
    seqs = np.array([asked.seq for one in told for asked in one.route.asked])
    quality = np.concatenate([spread(one.seen.quality, one.seen.names, names) for one in told])
    cost = np.concatenate([spread(one.seen.cost, one.seen.names, names) for one in told])
    propensity = np.concatenate([one.orders.propensity for one in told])
    rank = np.argsort(seqs)
    return Predicted(
        seqs=seqs[rank].tolist(),
        candidates=names,
        quality=pack(quality[rank]),
        cost=pack_usd(cost[rank]),
        propensity=propensity[rank].tolist(),
        model_version=", ".join(dict.fromkeys(str(one.route.model) for one in told)),
    )


def _reasons(told: Sequence[_Told]) -> dict[str, str]:
    """What stands beside a plan in the story of a request."""
    found = {}
    for one in told:
        target, price = one.route.target, one.orders.price
        weighed = "" if price is None else f", a dollar weighs {price:.4g} of quality"
        found[target.route] = f"{target.choose} by {one.route.model}{weighed}"
    return found
