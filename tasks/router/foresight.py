"""Foresight: asks the routers of a route chunk's targets, where they have some.

Light enough for every worker: what predicts is imported when a route with a router has work,
which happens on control workers only.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from core.lazy import lazy
from db.connect import Connection
from db.planning import RouteChunk
from routing.targets import Target
from tasks.context import Context
from tasks.models import LoadedModel
from tasks.router.foreseen import Asked, Foreseen

if TYPE_CHECKING:
    from tasks.router import predict
else:
    predict = lazy("tasks.router.predict")

log = structlog.get_logger()


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
    routes: list[predict.Route] = []
    for members in groups.values():
        target = members[0].target
        model = await _promoted(context, conn, chunk.project_id, target)
        if target.router is not None and model is not None:
            routes.append(predict.Route(target, target.router, model, members))
    if not routes:
        return Foreseen()
    seen = await asyncio.to_thread(predict.foresee, routes, context.deployments, chunk.id)
    return replace(seen, models={one.target.route: one.model.id for one in routes})


async def _promoted(
    context: Context, conn: Connection, project_id: int, target: Target
) -> LoadedModel | None:
    if target.router is None:
        return None
    model = await context.models.promoted(conn, project_id, target.router.model)
    if model is None:
        log.warning("no promoted model", route=target.route, router=target.router.model)
    return model
