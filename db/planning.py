"""The route step's reads and writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from psycopg.types.json import Jsonb

from core.plan import USUAL, Plan
from core.size import Size
from db.connect import Connection, only_row, statements
from db.copytext import array

SQL = statements("planning")
NAN: Final = b"\x00\x7e"
"""As float16, little-endian."""

NO_INTENTS: Final[Mapping[int, "Intent"]] = MappingProxyType({})
UNCALLED: Final = ("failed", "out_of_scope", "needs_clarification")
"""How a request may end without a call."""

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RouteChunk:
    """Up to 2,000 requests that wait for a plan; `kind` is their job's, `limit_nusd` the whole
    of its budget or of its project's, whichever is less, None where there is none."""

    id: int
    job_id: int
    part: int
    round: int
    seqs: list[int]
    route: str
    limit_nusd: int | None
    project_id: int
    kind: str = "live"

    @property
    def limited(self) -> bool:
        """Whether a budget limits what its requests may cost."""
        return self.limit_nusd is not None


class Unrouted(NamedTuple):
    """One request before its decision; `wishes` and `metadata` are JSON, or None."""

    seq: int
    target: str
    body: bytes
    wishes: str | None
    metadata: str | None


@dataclass(frozen=True, slots=True)
class PlannedChunk:
    """Requests of equal plan, at most 200. Lists run in step; bounds are nano-dollars on the
    candidate, which is one of the plan's list `among`. One of kind `plan` has up to 2,000, and
    stands nowhere (deployment ''): who gets its requests is decided for the whole job."""

    plan_id: int
    deployment: str
    seqs: list[int]
    sizes: list[Size]
    bounds: list[int]
    candidate: int = 0
    among: str = USUAL
    kind: Literal["call", "plan"] = "call"


@dataclass(frozen=True, slots=True)
class Predicted:
    """What routers said of requests, in the ascending order of `seqs`: `quality` and `cost` are
    packed by `routing.batch.packing`, a row of `candidates` a request; `propensity` is how likely
    the candidate asked first was to be that one."""

    seqs: list[int]
    candidates: list[str]
    quality: bytes
    cost: bytes
    propensity: list[float]
    model_version: str


class Intent(NamedTuple):
    """What a request is about, and how likely that is, where a model said so."""

    name: str
    probability: float | None = None


class Refused(NamedTuple):
    """A request that nothing will be called for; `error` is its result's JSON text."""

    seq: int
    error: str
    status: Literal["failed", "out_of_scope", "needs_clarification"] = "failed"


async def take_route_chunk(conn: Connection, job_id: int) -> RouteChunk | None:
    """Locks the next route chunk for the rest of the transaction; None when none is free."""
    row = await (await conn.execute(SQL["take"], {"job_id": job_id})).fetchone()
    if row is None:
        return None
    id_, part, round_, seqs, route, limit, project_id, kind = row
    return RouteChunk(id_, job_id, part, round_, seqs, route, limit, project_id, kind)


async def is_unrouted(conn: Connection, job_id: int) -> bool:
    """Whether requests of the job wait for their plans and nobody is at work on that."""
    cursor = await conn.execute(SQL["unrouted"], {"job_ids": [job_id]})
    return await cursor.fetchone() is not None


async def unrouted_jobs(conn: Connection) -> list[int]:
    """Up to a hundred jobs whose route chunks wait and that nobody is at work on."""
    cursor = await conn.execute(SQL["unrouted"], {"job_ids": None})
    return [row[0] for row in await cursor.fetchall()]


async def read_requests(conn: Connection, chunk: RouteChunk) -> list[Unrouted]:
    """The chunk's requests in order of seq."""
    cursor = await conn.execute(
        SQL["read"], {"part": chunk.part, "job_id": chunk.job_id, "seqs": chunk.seqs}
    )
    rows = await cursor.fetchall()
    return [
        Unrouted(seq, target, body.encode(), wishes, metadata)
        for seq, target, body, wishes, metadata in rows
    ]


async def put_plan(conn: Connection, plan: Plan) -> int:
    """The id of the plan's row, made if it is new."""
    params = {"digest": plan.digest(), "body": Jsonb(plan.body())}
    row = await (await conn.execute(SQL["put_plan"], params)).fetchone()
    if row is None:
        # Another process made it between our two looks; by now it is visible.
        row = await only_row(conn, SQL["put_plan"], params)
    return int(row[0])


async def put_decisions(
    conn: Connection,
    chunk: RouteChunk,
    planned: list[PlannedChunk],
    refused: list[Refused],
    predicted: Predicted | None = None,
    reasons: Mapping[str, str] = NOTHING,
    intents: Mapping[int, Intent] = NO_INTENTS,
) -> None:
    """The packed route row (what was predicted, why it was followed so, what requests are about,
    by seq), the planned chunks, the results of what is not called, the route chunk's end."""
    calls: dict[int, int] = {}
    if chunk.round > 1:
        where = {"part": chunk.part, "job_id": chunk.job_id, "seqs": chunk.seqs}
        calls = dict(await (await conn.execute(SQL["calls_made"], where)).fetchall())
    common = {"part": chunk.part, "job_id": chunk.job_id, "round": chunk.round}
    async with conn.pipeline():
        packed = {**_packed(chunk, planned, predicted), "reasons": Jsonb(dict(reasons))}
        named = [intents.get(seq) for seq in sorted(s for group in planned for s in group.seqs)]
        packed["intents"] = [one and one.name for one in named] if intents else None
        sure = [one and one.probability for one in named]
        packed["intent_probability"] = sure if intents else None
        await conn.execute(SQL["put_route"], {**common, **packed})
        for group in planned:
            await conn.execute(
                SQL["put_chunk"],
                {
                    **common,
                    "kind": group.kind,
                    "plan_id": group.plan_id,
                    "candidate": group.candidate,
                    "among": group.among,
                    "deployment": group.deployment,
                    "size": len(group.seqs),
                    "seqs": array(group.seqs),
                    "calls": array(calls.get(seq, 0) for seq in group.seqs),
                    "tokens": array(size.tokens for size in group.sizes),
                    "text_bytes": array(size.text_bytes for size in group.sizes),
                    "overheads": array(size.overhead for size in group.sizes),
                    "outputs": array(size.output for size in group.sizes),
                    "bounds": array(group.bounds),
                },
            )
        if refused:
            seqs, errors, statuses = zip(*refused, strict=True)
            results = {"seqs": [*seqs], "errors": [*errors], "statuses": [*statuses]}
            await conn.execute(SQL["refuse"], {**common, **results})
            counts = {name: statuses.count(name) for name in UNCALLED}
            await conn.execute(SQL["count_refused"], {"job_id": chunk.job_id, **counts})
        await conn.execute(SQL["close"], {"id": chunk.id})


def _packed(
    chunk: RouteChunk, planned: list[PlannedChunk], predicted: Predicted | None
) -> dict[str, Any]:
    rows = sorted(
        (seq, group.plan_id, size.tokens)
        for group in planned
        for seq, size in zip(group.seqs, group.sizes, strict=True)
    )
    return {
        "chunk_id": chunk.id,
        "seqs": array(row[0] for row in rows),
        "plan_ids": array(row[1] for row in rows),
        "tokens": array(row[2] for row in rows),
        **_foreseen([row[0] for row in rows], predicted),
    }


def _foreseen(seqs: list[int], predicted: Predicted | None) -> dict[str, Any]:
    """The predictions for these requests; NaN for one without."""
    if predicted is None:
        names = "candidates", "quality", "cost", "propensity"
        return {"model_version": "", **dict.fromkeys(names)}
    place = {seq: row for row, seq in enumerate(predicted.seqs)}
    width = 2 * len(predicted.candidates)
    unknown = NAN * len(predicted.candidates)

    def rows(body: bytes) -> bytes:
        return b"".join(
            body[width * at : width * (at + 1)] if at is not None else unknown
            for at in map(place.get, seqs)
        )

    return {
        "model_version": predicted.model_version,
        "candidates": predicted.candidates,
        "quality": rows(predicted.quality),
        "cost": rows(predicted.cost),
        "propensity": [predicted.propensity[place[seq]] if seq in place else 1.0 for seq in seqs],
    }
