"""Asks trained models what requests are about.

Light enough for every worker: what predicts is imported where a route with such a model has
work, which happens on control workers only.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from core.errors import InputError
from core.intents import OUT_OF_SCOPE, UNCLEAR, IntentFile, IntentsSettings
from core.lazy import lazy
from core.settings import Settings
from db.connect import Connection
from db.planning import RouteChunk, Unrouted
from db.router_models import promoted_info
from routing.asked_intents import Verdict
from routing.prompt_text import text_of
from tasks.context import Context

if TYPE_CHECKING:
    from routing import next_action
else:
    next_action = lazy("routing.next_action")

log = structlog.get_logger()


class Classified(NamedTuple):
    """What a model said of a request, by the intents of which file, and which model it was."""

    verdict: Verdict
    file: IntentFile
    by: str


async def classify(
    context: Context,
    conn: Connection,
    chunk: RouteChunk,
    wanted: Sequence[tuple[Unrouted, IntentsSettings]],
) -> dict[int, Classified]:
    """By seq what the promoted models say of the requests.

    Where a model is gone since the submit, or its encoder is, its requests are not in there.
    """
    groups: dict[str, list[tuple[Unrouted, IntentsSettings]]] = defaultdict(list)
    for one in wanted:
        groups[one[0].target].append(one)
    found: dict[int, Classified] = {}
    for members in groups.values():
        intents = members[0][1]
        try:
            loaded = await context.models.promoted(conn, chunk.project_id, intents.model or "")
        except InputError as error:
            log.error("intents cannot be told", model=intents.model, error=str(error))
            continue
        if loaded is None or loaded.model.kind != "intent":
            log.warning("no promoted model of intents", model=intents.model)
            continue
        file = intents.file or loaded.model.file
        requests = [request for request, _ in members]
        verdicts = await asyncio.to_thread(_verdicts, loaded.model, requests, intents.level, file)
        by = f"{loaded}, level {intents.level:g}"
        for request, verdict in zip(requests, verdicts, strict=True):
            found[request.seq] = Classified(verdict, file, by)
    return found


def _verdicts(
    model: Any, requests: Sequence[Unrouted], level: float, file: IntentFile
) -> list[Verdict]:
    told = model.predict([text_of(request.body).text for request in requests])
    verdicts = []
    for action in next_action.next_actions(told, level, file):
        if isinstance(action, next_action.Answer):
            verdicts.append(Verdict(action.intent, (), (action.probability,)))
        elif isinstance(action, next_action.Clarify):
            verdicts.append(Verdict(UNCLEAR, action.intents, action.probabilities))
        else:
            rejected = () if action.intent is None else (action.intent,)
            verdicts.append(Verdict(OUT_OF_SCOPE, rejected, (action.probability,)))
    return verdicts


async def intents_problem(
    conn: Connection, project_id: int, settings: Settings, route: str, intents: IntentsSettings
) -> str | None:
    """Why a route's requests cannot be told apart by its model; None where they can."""
    model = intents.model
    if model is None:
        return None
    info = await promoted_info(conn, project_id, model)
    if info is None:
        return (
            f"routes.{route} tells intents by {model!r}, of which this project has no promoted "
            f"model. Train one: batchyard router train --task intent --intents FILE --name {model}"
        )
    if "candidates" in info:
        return (
            f"routes.{route}: {model!r} chooses among candidates and tells no intents. Name a "
            "model of task intent; batchyard router list shows them"
        )
    lost = [] if intents.file else [name for name in info["routes"] if name not in settings.routes]
    if lost:
        return (
            f"routes.{route}: {model!r} sends intents to {', '.join(lost)}, which is not under "
            "routes. Add it, or give the route an intents file of its own: file: intents.yaml"
        )
    return None
