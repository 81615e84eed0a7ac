"""Sample: some of a job's requests become a pilot, which tries them on every candidate.

As many as a share of the budget covers at most, so that the pilot never spends more than that.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import ceil

from core.errors import InputError
from core.ids import job_name
from core.money import usd_about
from core.pilot import LEAST_SAMPLE, PilotOptions
from core.size import Size
from db.connect import Connection
from db.lifecycle import next_job_id, put_event
from db.linked import LinkedKind, NewLinked, put_linked, put_requests
from db.pilot import Drawn, hold_back, pool
from db.requests import Row, put_route_chunks
from db.scores import put_scoring
from providers.tokens import count_many
from routing.sampling import stratified
from routing.targets import resolve_target
from tasks.bounds import bound_nusd
from tasks.context import Context
from tasks.router.tags import prompt_and_tags

POOL = 10
MOST_VALUES = 20
NO_BOUND = 1 << 62
"""Nano-dollars above any budget."""


async def link_pilot(
    context: Context,
    conn: Connection,
    options: PilotOptions,
    *,
    job_id: int,
    part: int,
    route: str,
    budget_nusd: int | None,
    scorer: str | None,
) -> int:
    """Samples a job's requests into a linked job that it waits for, in the transaction of the
    submit; the linked job's id. Raises InputError where the sample would be too small: whoever
    asks for a pilot does not want the job without one."""
    limit = POOL * options.requests
    drawn = await pool(conn, part, job_id, route, limit=limit, seed=job_id)
    chosen = [
        drawn[at] for at in stratified(_strata(drawn, options.gold), options.requests, job_id)
    ]
    if len(chosen) < LEAST_SAMPLE:
        raise InputError(
            f"Only {len(chosen)} requests go by the route {route}, and a pilot takes at least "
            f"{LEAST_SAMPLE}. Leave out --pilot, or send more"
        )
    if budget_nusd is not None:
        chosen = _affordable(context, route, chosen, budget_nusd, options)
    names = context.settings.routes[route].candidates
    rows = [(one.seq + 1, _row(one, name)) for one in chosen for name in names]
    new = NewLinked(
        id=await next_job_id(conn),
        parent_id=job_id,
        kind=LinkedKind.PILOT,
        route=route,
        total=len(rows),
        source="pilot",
        config_digest=context.settings.digest(),
    )
    await put_linked(conn, new)
    await put_requests(conn, part, new.id, rows)
    await put_route_chunks(conn, part, new.id, len(rows))
    if scorer is not None:
        await put_scoring(conn, new.id, options.gold, scorer)
    await hold_back(conn, job_id)
    told = {"requests": len(chosen), "asked_for": options.requests, "gold": options.gold}
    await put_event(conn, job_id, "pilot", {**told, "by": job_name(new.id)})
    return new.id


def _strata(drawn: Sequence[Drawn], gold: str) -> list[tuple[str, ...]]:
    """What a request is like: its telling tags, and in which third of the lengths it is."""
    pairs = [prompt_and_tags(one.body.encode(), one.metadata) for one in drawn]
    columns = telling([tags for _, tags in pairs], gold)
    lengths = sorted(len(text) for text, _ in pairs)
    thirds = [lengths[len(lengths) * third // 3] for third in (1, 2)] if lengths else []
    return [
        (*(tags.get(name, "") for name in columns), str(sum(len(text) >= at for at in thirds)))
        for text, tags in pairs
    ]


def telling(tags: Sequence[Mapping[str, str]], gold: str) -> list[str]:
    """The columns that sort requests into a few kinds; not the one with the right answers."""
    values: dict[str, set[str]] = defaultdict(set)
    for one in tags:
        for name, value in one.items():
            values[name].add(value)
    return sorted(n for n, found in values.items() if n != gold and 1 < len(found) <= MOST_VALUES)


def _affordable(
    context: Context,
    route: str,
    chosen: Sequence[Drawn],
    budget_nusd: int,
    options: PilotOptions,
) -> list[Drawn]:
    """As many of these as cost no more than the pilot's share on all candidates; the others go
    by lot. Raises InputError where they would be too few."""
    target = resolve_target(route, context.settings)
    output = target.max_output if target else 0
    bounds = [
        _bound(context, route, counted.size(output))
        for counted in count_many([one.body.encode() for one in chosen])
    ]
    room = int(budget_nusd * options.share)
    kept, spent = [], 0
    for at in sorted(range(len(chosen)), key=lambda one: blake2b(str(one).encode()).digest()):
        if spent + bounds[at] <= room:
            spent += bounds[at]
            kept.append(at)
    if len(kept) < LEAST_SAMPLE:
        raise InputError(
            f"{options.share:.0%} of the budget covers a pilot of {len(kept)} requests for "
            f"certain, and {LEAST_SAMPLE} are the least. {_remedy(bounds, options.share)}"
        )
    return [chosen[at] for at in sorted(kept)]


def _remedy(bounds: Sequence[int], share: float) -> str:
    """What would make room for a pilot of all requests with such bounds."""
    whole = sum(bounds)
    if whole >= NO_BOUND:
        return "A candidate has no price, so a pilot has no bound: give it one under deployments"
    enough = usd_about(ceil(1.05 * whole / share))
    return (
        f"All {len(bounds)} may cost ${usd_about(whole)} on all candidates: give a budget of "
        f"${enough}, a larger --pilot-share, or the requests a smaller max_tokens"
    )


def _bound(context: Context, route: str, size: Size) -> int:
    """What a request costs on all candidates at most, in nano-dollars; what has no bound costs
    more than any budget."""
    lines = [context.settings.lines(name)[0] for name in context.settings.routes[route].candidates]
    bounds = [bound_nusd(size, context.deployments[line], limited=True) for line in lines]
    return sum(NO_BOUND if bound is None else bound for bound in bounds)


def _row(one: Drawn, candidate: str) -> Row:
    """What a request asks of the yard itself is left out: nobody else is to answer it here."""
    body = one.body.encode()
    digest = blake2b(body, digest_size=16).digest()
    metadata = (one.metadata or "").encode()
    return Row(f"{one.custom_id}#{candidate}", candidate, body, metadata, digest)
