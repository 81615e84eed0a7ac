"""Pilot: what was tried on every candidate teaches a router, and the job goes on.

submit  ─► a sample becomes a linked job (`tasks/router/sample.py`); the job waits
ended,  ─► train ─► keep, promote if better ─► sampled requests take their answers
scored  ─► the rest is routed: by the model, or where none could be trained in the route's order
"""

from collections.abc import Iterable, Mapping, Sequence

import structlog

from core.errors import ConflictError, InputError
from core.ids import job_name
from core.money import Price
from core.pilot import LEAST_SAMPLE, Learned
from core.settings import Settings
from db.connect import Connection
from db.lifecycle import put_event
from db.pilot import Answer, Over, alone, answers, due_pilots, find_over, hold, take_over
from db.router_models import promote, promoted, put_model
from tasks.context import Context
from tasks.router.teacher import Lessons, learn

log = structlog.get_logger()


async def ring_pilots(context: Context) -> int:
    """Asks for what pilots that are over have to teach; how many."""
    async with context.pool.connection() as conn:
        jobs = await due_pilots(conn)
    for job_id in jobs:
        await context.publisher.publish("pilot", job_id)
    return len(jobs)


async def pilot(context: Context, job_id: int) -> str:
    """Learns of the job's pilot and lets the job go on; one line on what was done. Harmless at
    any other time, and twice."""
    async with context.pool.connection() as conn, conn.transaction():
        if not await alone(conn, job_id) or (over := await find_over(conn, job_id)) is None:
            return f"{job_name(job_id)} waits for no pilot"
        given = await answers(conn, over)
        names, model = _route(context.settings, over.route)
        known = await promoted(conn, over.project_id, model)
        prices = {one: _price(context, one) for one in names}
        learned = await _learn(given, prices, over.gold, known.body if known else None)
        # Its row was free while this learned.
        await hold(conn, job_id)
        if await find_over(conn, job_id) is None:
            return f"{job_name(job_id)} was stopped meanwhile"
        kind, message = await _keep(conn, over, model, learned)
        order = learned.ranked if isinstance(learned, Learned) else names
        await take_over(conn, job_id, over, _taken(given, order))
        await put_event(conn, job_id, kind, {"message": message})
    if kind == "pilot_failed":
        log.warning("pilot failed", job=job_id, reason=message)
    await context.publisher.publish("route", job_id)
    return f"{job_name(job_id)}: {message}"


def _route(settings: Settings, name: str) -> tuple[list[str], str]:
    """A route's candidates and the name of its model; the configuration may have lost it."""
    route = settings.routes.get(name)
    if route is None or route.router is None:
        return [], ""
    return route.candidates, route.router.model


def _price(context: Context, name: str) -> Price | None:
    """What a candidate costs now; None where nobody knows."""
    if name not in context.settings.deployments:
        return None
    return context.deployments[context.settings.lines(name)[0]].price


async def _learn(
    given: Sequence[Answer], prices: Mapping[str, Price | None], gold: str, known: bytes | None
) -> Learned | str:
    """What a model learns of the answers of the candidates, or why it cannot."""
    names = list(prices)
    scored = [one.candidate for one in given if one.score is not None]
    few = [f"{name} {scored.count(name)}" for name in names if scored.count(name) < LEAST_SAMPLE]
    if not names:
        return "its route is no longer in the configuration"
    if few:
        return f"too few answers have a score ({', '.join(few)}; {LEAST_SAMPLE} are needed)"
    try:
        learned = await learn(Lessons(given, prices, gold, known))
    except InputError as error:
        return str(error).rstrip(".")
    return learned


async def _keep(
    conn: Connection, over: Over, model: str, learned: Learned | str
) -> tuple[str, str]:
    """Stores what was learned, and promotes it if it is better; the event and its sentence."""
    if isinstance(learned, str):
        return "pilot_failed", _failed(learned)
    info = {**learned.info, "pilot": job_name(over.pilot_id)}
    try:
        version = await put_model(conn, over.project_id, model, "choice", learned.body, info)
    except ConflictError as error:
        return "pilot_failed", _failed(str(error))
    if learned.better:
        await promote(conn, over.project_id, model, version)
    scores = ", ".join(f"{name} {mean:.2f}" for name, mean in learned.info["quality"].items())
    way = "routes go by it now" if learned.better else "the version in use is better, and stays"
    return "pilot_learned", (
        f"{model} version {version} learned of {learned.rows:,} prompts (mean scores: {scores}); "
        f"{way}{_cascade(learned)}"
    )


def _cascade(learned: Learned) -> str:
    found = learned.info.get("acceptance")
    return (
        f". Its cascade asks {', '.join(found['asked'])}, then {found['strong']}" if found else ""
    )


def _taken(given: Iterable[Answer], order: Sequence[str]) -> dict[int, int]:
    """For each sampled request the answer of the candidate that did best on all of them; where
    that gave none, of the next."""
    rank = {name: place for place, name in enumerate(order)}
    best: dict[int, Answer] = {}
    for one in given:
        there = best.get(one.seq)
        place = rank.get(one.candidate, len(rank))
        if one.completed and (there is None or place < rank.get(there.candidate, len(rank))):
            best[one.seq] = one
    return {seq: one.linked_seq for seq, one in best.items()}


def _failed(why: str) -> str:
    """What is said of a pilot that taught nothing."""
    return (
        f"the pilot taught nothing: {why}. The job goes on in the order of its route's candidates"
    )
