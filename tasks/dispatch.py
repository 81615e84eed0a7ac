"""Dispatch: which planned chunks are bound to which deployments now, and how many lanes run.

Runs every second and after each commit that frees work; one at a time in the yard. It binds no
more than about half a minute of a deployment's present rate ahead, so that a late job, a pause
or a change of mind finds most of the work still unbound. Which deployment a chunk goes to is
said by `routing/policies.py`; `tasks/binding.py` shows it what there is.
"""

from collections import Counter

from db.connect import Connection
from db.dispatch import (
    Work,
    issue_tickets,
    live_lanes,
    planned_work,
    stamp,
    take_turn,
    waiting_work,
)
from db.health import conditions
from db.vitals import read_vitals
from providers.catalog import project_buckets
from tasks.allowance import allowances
from tasks.binding import Binder, look
from tasks.context import Context
from tasks.health import OPEN

CHUNK = 200


async def dispatch(context: Context) -> str:
    """Serves the whole yard; returns one line on what was done."""
    names = list(context.deployments)
    async with context.pool.connection() as conn:
        work = await waiting_work(conn, names)
        if not any(_is_due(one) for one in work.values()) and not await planned_work(conn):
            return "nothing to do"
    async with context.pool.connection() as conn, conn.transaction():
        if not await take_turn(conn):
            return "another dispatch is at work"
        chunks, tickets = await _serve(conn, context)
        if chunks or tickets:
            await stamp(conn)
    for provider, ticket in tickets:
        await context.publisher.publish("call", provider, ticket, queue=f"provider.{provider}")
    if not chunks and not tickets:
        return "nothing to do"
    return "; ".join((f"{chunks} chunks bound", *_told(tickets)))


def _is_due(work: Work) -> bool:
    return work.due > 0 or work.reopens


def _told(tickets: list[tuple[str, int]]) -> list[str]:
    counts = Counter(provider for provider, _ in tickets)
    return [f"{count} tickets for {provider}" for provider, count in counts.items()]


async def _serve(conn: Connection, context: Context) -> tuple[int, list[tuple[str, int]]]:
    """Binds what there is room for and issues tickets: how many chunks, and (provider, id)."""
    names = list(context.deployments)
    work = await waiting_work(conn, names)
    standing = await conditions(conn)
    vitals = await read_vitals(conn)
    lines = await look(conn, context.deployments, work, standing, vitals)
    projects = project_buckets(context.settings)
    allowed = await allowances(conn, projects, context.deployments, vitals)
    binder = Binder(conn, context.deployments, lines, allowed)
    await binder.free_stuck([name for name, one in standing.items() if not one.sends])
    await binder.free_overdue()
    await binder.free_for_idle()
    chunks = await binder.bind()
    if chunks:
        work = await waiting_work(conn, names)
    due: Counter[str] = Counter()
    for name, deployment in context.deployments.items():
        if standing.get(name, OPEN).sends:
            due[deployment.provider] += work[name].due
    return chunks, [
        (provider, ticket)
        for provider, requests in due.items()
        for ticket in await _tickets(conn, context, provider, requests)
    ]


async def _tickets(conn: Connection, context: Context, provider: str, due: int) -> list[int]:
    """New tickets: lanes queued and running never outnumber what is due, nor the setting."""
    wanted = min(context.settings.yard.lanes, -(-due // CHUNK))
    if not wanted:
        return []
    missing = wanted - await live_lanes(conn, provider, context.settings.yard.lease)
    return await issue_tickets(conn, provider, missing) if missing > 0 else []
