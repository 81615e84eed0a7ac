"""Foresight: asks the routers of a route chunk's targets, where they have some.

Light enough for every worker: what predicts is imported when a route with a router has work,
which happens on control workers only.
"""

import asyncio
import importlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import structlog

from core.size import Size
from db.connect import Connection
from db.planning import Predicted, RouteChunk
from routing.targets import Target
from tasks.context import Context

log = structlog.get_logger()


class Asked(NamedTuple):
    """A request that may be called: its body and metadata are JSON."""

    seq: int
    target: Target
    size: Size
    body: bytes
    metadata: str | None


@dataclass(frozen=True, slots=True)
class Foreseen:
    """By seq the lines in the order to ask them in, where a router said so; the requests that
    wait for the plan of the whole job; what is kept of the predictions, and why they were
    followed as they were. `models` are the rows of the models, by route."""

    lines: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    waiting: frozenset[int] = frozenset()
    predicted: Predicted | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, int] = field(default_factory=dict)


async def foresee(
    context: Context, conn: Connection, chunk: RouteChunk, asked: Sequence[Asked]
) -> Foreseen:
    """What the promoted models say of these requests; nothing where no target has a router.

    A model that is gone since the submit leaves its route's own order.
    """
    groups: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        if one.target.router is not None:
            groups[one.target.route].append(one)
    found: list[tuple[list[Asked], Any]] = []
    for name, members in groups.items():
        router = members[0].target.router
        model = router and await context.models.promoted(conn, chunk.project_id, router.model)
        if model:
            found.append((members, model))
        else:
            log.warning("no promoted model", route=name, router=router and router.model)
    if not found:
        return Foreseen()
    heavy = importlib.import_module("tasks.predict")
    routes = [
        heavy.Route(members[0].target, members[0].target.router, model, members)
        for members, model in found
    ]
    seen: Foreseen = await asyncio.to_thread(heavy.foresee, routes, context.deployments, chunk.id)
    return replace(seen, models={one[0].target.route: model.id for one, model in found})
