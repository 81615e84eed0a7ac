"""Linked jobs: their rows, and which of their requests answer for which of their parent's.

A linked job has its parent's account, so one budget and one ledger hold for both, and its part,
so that it is read and removed with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from core.errors import NotFoundError
from db.connect import Connection, statements
from db.planning import RouteChunk
from db.requests import Row

SQL = statements("linked")
LOOKED_AT = 4
"""Waiting chunks of a job that are looked at, a second."""


class LinkedKind(StrEnum):
    """What a linked job does for its parent: sends on what was clarified, asks a model for the
    intents of its requests, or tries its candidates on some of them."""

    CLARIFIED = "clarified"
    INTENT = "intent"
    PILOT = "pilot"


@dataclass(frozen=True, slots=True)
class Parent:
    """A job that others are linked to, its row locked. `overdue`: its deadline has passed."""

    id: int
    part: int
    status: str
    stop: str | None
    total: int
    round: int
    route: str
    parent_id: int | None
    overdue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLinked:
    """A job to be linked. `route` is what its requests fall back on; without a `deadline` the
    parent's holds."""

    id: int
    parent_id: int
    kind: LinkedKind
    route: str
    total: int
    source: str
    config_digest: str
    deadline: datetime | None = None


async def hold_parent(conn: Connection, project_id: int, job_id: int) -> Parent:
    """Locks the job's row. Raises NotFoundError when the project has no such job."""
    where = {"project_id": project_id, "job_id": job_id}
    row = await (await conn.execute(SQL["parent"], where)).fetchone()
    if row is None:
        raise NotFoundError(f"There is no job_{job_id} here. `batchyard jobs` lists them")
    return Parent(*row)


async def put_linked(conn: Connection, new: NewLinked) -> None:
    """The job's row, in progress."""
    params = {
        "job_id": new.id,
        "parent_id": new.parent_id,
        "kind": new.kind,
        "route": new.route,
        "total": new.total,
        "source": new.source,
        "config_digest": new.config_digest,
        "deadline": new.deadline,
    }
    await conn.execute(SQL["put_job"], params)


async def put_links(
    conn: Connection, new: NewLinked, seqs: list[int], linked_seqs: list[int]
) -> None:
    """From now on these requests of the linked job answer for those of its parent."""
    await _link(conn, new.parent_id, new.kind, seqs, new.id, linked_seqs)


async def _link(
    conn: Connection,
    parent_id: int,
    kind: LinkedKind,
    seqs: list[int],
    job_id: int,
    linked_seqs: list[int],
) -> None:
    params = {"parent_id": parent_id, "kind": kind, "job_id": job_id}
    await conn.execute(SQL["put_links"], {**params, "seqs": seqs, "linked_seqs": linked_seqs})


async def put_requests(
    conn: Connection, part: int, job_id: int, rows: Sequence[tuple[int, Row]], *, first: int = 0
) -> None:
    """Adds requests to a linked job, from the seq `first` on; each beside its line of the
    parent's input."""
    given = [row for _, row in rows]
    params = {
        "part": part,
        "job_id": job_id,
        "first": first,
        "custom_ids": [row.custom_id for row in given],
        "rows": [line for line, _ in rows],
        "targets": [row.target for row in given],
        "bodies": [row.body.decode() for row in given],
        "metadata": [row.metadata.decode() or None for row in given],
        "hashes": [row.prompt_hash for row in given],
        "wishes": [row.wishes.decode() or None for row in given],
    }
    await conn.execute(SQL["put_requests"], params)


class Question(NamedTuple):
    """A request that needs clarification: its texts are as in `requests`, `error` is its
    result's JSON."""

    seq: int
    custom_id: str
    row: int
    target: str
    body: str
    metadata: str | None
    wishes: str | None
    error: str


async def questions(conn: Connection, part: int, job_id: int) -> list[Question]:
    """What waits for an answer, in the order of the input."""
    cursor = await conn.execute(SQL["questions"], {"part": part, "job_id": job_id})
    return [Question(*row) for row in await cursor.fetchall()]


async def clarified(conn: Connection, part: int, job_id: int) -> dict[str, int]:
    """How many of the job's requests were clarified, by how that came out; `open` are those
    that have no result yet."""
    cursor = await conn.execute(SQL["clarified"], {"part": part, "job_id": job_id})
    return dict(await cursor.fetchall())


class Growing(NamedTuple):
    """A linked job that takes more requests, its row locked; `total` are those it has."""

    id: int
    total: int


async def growing(conn: Connection, parent_id: int, kind: LinkedKind) -> Growing | None:
    """The parent's open linked job of the kind; None where it has none."""
    params = {"parent_id": parent_id, "kind": kind}
    row = await (await conn.execute(SQL["growing"], params)).fetchone()
    return None if row is None else Growing(*row)


async def ask_more(
    conn: Connection,
    into: Growing,
    kind: LinkedKind,
    chunk: RouteChunk,
    asked: Sequence[tuple[int, Row]],
) -> None:
    """Adds requests to a linked job, each beside the seq of the chunk's that it answers for. The
    chunk waits until all of them have come to an end."""
    seqs = [seq for seq, _ in asked]
    linked_seqs = list(range(into.total, into.total + len(asked)))
    rows = [(seq + 1, row) for seq, row in asked]
    await put_requests(conn, chunk.part, into.id, rows, first=into.total)
    await _link(conn, chunk.job_id, kind, seqs, into.id, linked_seqs)
    await conn.execute(SQL["grow"], {"job_id": into.id, "more": len(asked)})
    where = {"job_id": into.id, "part": chunk.part, "first": into.total, "count": len(asked)}
    await conn.execute(SQL["put_route_chunk"], where)
    await conn.execute(SQL["hold_back"], {"chunk_id": chunk.id, "kind": kind})


async def said(conn: Connection, chunk: RouteChunk, kind: LinkedKind) -> dict[int, str | None]:
    """By seq the answers' bodies of what was asked for requests of the chunk; None for one that
    has no answer."""
    where = {"part": chunk.part, "job_id": chunk.job_id, "kind": kind, "seqs": chunk.seqs}
    return dict(await (await conn.execute(SQL["said"], where)).fetchall())


async def let_answered_go(conn: Connection, kind: LinkedKind) -> int:
    """Lets route chunks go on whose requests have all been answered for in linked jobs of the
    kind; how many."""
    return (await conn.execute(SQL["let_answered_go"], {"kind": kind, "most": LOOKED_AT})).rowcount
