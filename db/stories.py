"""What happened to a request, and what went wrong in a job."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isnan
from struct import unpack
from typing import Any, NamedTuple, TypeVar

from psycopg.rows import class_row

from core.errors import NotFoundError
from core.money import usd_text
from core.status import JobStatus
from db.choices import Chosen, Why, choices_of, read_why
from db.connect import Connection, statements
from db.jobs import JobView, job_events, job_view
from db.waiting import closed_among, waiting_for
from db.waits import Closed, Standing, why
from db.waves import WaveRow, job_waves

SQL = statements("stories")
SAMPLES = 3
STOPPED = {
    JobStatus.CANCELLED.value: "the job was cancelled",
    JobStatus.EXPIRED.value: "the job's deadline came first",
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The request as it came in; `row` is its 1-based line."""

    seq: int
    custom_id: str
    row: int
    variant: int
    target: str
    metadata: str | None
    body_chars: int


class Expected(NamedTuple):
    """What a router foresees of a candidate: quality from 0 to 1, dollars for 1,000 calls."""

    candidate: str
    quality: float
    usd_per_1k: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What the route step decided in a round: `body` is the plan, `tokens` its estimate,
    `intent` what the request is about, where that was looked for, with its `probability` where
    a model told it; `propensity` how likely a router was to put its first candidate first;
    `quality` and `cost` are packed as in `routes`, for this request alone."""

    round: int
    body: dict[str, Any]
    tokens: int
    reasons: dict[str, Any]
    at: datetime
    intent: str | None = None
    probability: float | None = None
    propensity: float | None = None
    candidates: list[str] | None = None
    quality: bytes | None = None
    cost: bytes | None = None

    @property
    def predicted(self) -> list[Expected]:
        """What a router foresaw for its candidates; those it said nothing of are left out."""
        if not (self.candidates and self.quality and self.cost):
            return []
        halves = f"<{len(self.candidates)}e"
        rows = zip(
            self.candidates, unpack(halves, self.quality), unpack(halves, self.cost), strict=True
        )
        return [Expected(*row) for row in rows if not isnan(row[1])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A request of a linked job that answers for one: what for (`kind`), and how it ended."""

    kind: str
    job_id: int
    custom_id: str
    status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt. The cost is None where the price is unknown; `choice` is why it went where it
    went, as dispatch kept it."""

    n: int
    round: int
    deployment: str
    status: str
    error_class: str | None
    error: str | None
    http_status: int | None
    input_tokens: int | None
    output_tokens: int | None
    cost_nusd: int | None
    bound_nusd: int
    latency_ms: int
    at: datetime
    choice: str

    @property
    def why(self) -> Why | None:
        """None where it was made again where the last one went, or nobody knows any more."""
        return read_why(self.choice, self.deployment)

    @property
    def cost_usd(self) -> str | None:
        return usd_text(self.cost_nusd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The request's current result, without its body; `step` (JSON) tells which step of a
    cascade answered."""

    round: int
    status: str
    deployment: str
    n: int
    http_status: int | None
    request_id: str | None
    error: str | None
    step: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """The open chunk that has the request; `due` in seconds from now, `sent` says that a call
    may be in flight."""

    kind: str
    status: str
    deployment: str
    reason: str
    candidate: int
    choice: str
    due: float
    tries: int
    sent: bool

    @property
    def why(self) -> Why | None:
        """Why it is bound where it is; None where it is not bound yet."""
        bound = self.status in ("ready", "waiting", "leased")
        return read_why(self.choice, self.deployment) if bound else None


@dataclass(frozen=True, slots=True)
class RequestStory:
    """A request's way so far. Without an outcome in an ended job it has the job's. While it
    waits, `closed` are its candidates that are not open now, and `why` says what it waits for;
    `elsewhere` are requests of linked jobs that answer for it."""

    job_status: str
    asked: Asked
    plans: list[Planned]
    calls: list[Call]
    outcome: Outcome | None
    now: Whereabouts | None
    closed: list[Closed]
    elsewhere: list[Elsewhere]
    why: str


@dataclass(frozen=True, slots=True)
class JobStory:
    """A job with its history (kind, data, time) and the plans of its requests, each with how
    many requests were planned so, how the deployments of its calls were chosen, and the waves of a
    job that is planned as a whole."""

    view: JobView
    events: list[tuple[str, dict[str, Any], datetime]]
    plans: list[tuple[dict[str, Any], int]]
    choices: list[Chosen]
    waves: list[WaveRow]


@dataclass(slots=True)
class ErrorGroup:
    """Errors of one class: calls that ended so, the requests they belong to, requests that
    failed for it in the end, and samples of (custom_id, deployment, message)."""

    name: str
    calls: int = 0
    requests: int = 0
    failed: int = 0
    samples: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRun:
    """Requests of a stopped job that have no result. Money in nano-dollars: the job's limit
    (None without one), what it spent, and the bound of the cheapest call that was not made
    (None where none was planned)."""

    stop: str
    requests: int
    limit_nusd: int | None
    spent_nusd: int
    cheapest_nusd: int | None

    @property
    def why(self) -> str:
        """How they ended, in a sentence; for a budget what it would have taken."""
        if self.limit_nusd is None or self.stop != JobStatus.BUDGET_EXHAUSTED:
            return STOPPED.get(self.stop, self.stop)
        told = f"the budget is ${usd_text(self.limit_nusd)}, spent ${usd_text(self.spent_nusd)}"
        if self.cheapest_nusd is not None:
            told += f", and the cheapest call left may cost ${usd_text(self.cheapest_nusd)}"
        return f"{told}. Raise --budget, or give max_tokens, which bounds what an answer costs"


async def request_story(
    conn: Connection, project_id: int, job_id: int, custom_id: str
) -> RequestStory:
    """Raises NotFoundError for a job or a custom_id that is not there."""
    async with conn.transaction():
        where, status = await _place(conn, project_id, job_id)
        where["custom_id"] = custom_id
        asked = await _all(conn, Asked, "request", where)
        if not asked:
            raise NotFoundError(
                f"job_{job_id} has no request with custom_id {custom_id!r}. "
                "Lines without one are called request-<line>"
            )
        where["seq"] = asked[0].seq
        outcomes = await _all(conn, Outcome, "outcome", where)
        now = await _all(conn, Whereabouts, "whereabouts", where)
        plans = await _all(conn, Planned, "plans", where)
        names = plans[-1].body["candidates"] if plans and now else []
        return RequestStory(
            status,
            asked[0],
            plans,
            await _all(conn, Call, "calls", where),
            outcomes[0] if outcomes else None,
            now[0] if now else None,
            await closed_among(conn, names),
            await _all(conn, Elsewhere, "elsewhere", where),
            await _why(conn, job_id, now[0], names) if now else "",
        )


async def _why(conn: Connection, job_id: int, now: Whereabouts, names: list[str]) -> str:
    """Why the request waits where it is."""
    alone = Standing(
        kind=now.kind,
        status=now.status,
        deployment=now.deployment,
        reason=now.reason,
        chunks=1,
        unsent=1,
        due=now.due,
    )
    return why(await waiting_for(conn, job_id, [alone], names))


async def job_story(conn: Connection, project_id: int, job_id: int) -> JobStory:
    """Raises NotFoundError."""
    view = await job_view(conn, project_id, job_id)
    plans = await _rows(conn, "job_plans", {"part": view.part, "job_id": job_id})
    return JobStory(
        view,
        await job_events(conn, job_id),
        [(body, n) for body, n in plans],
        await choices_of(conn, view.part, job_id),
        await job_waves(conn, job_id),
    )


async def errors_by_class(conn: Connection, project_id: int, job_id: int) -> list[ErrorGroup]:
    """What went wrong, most failed requests first; empty when nothing did.

    Raises NotFoundError.
    """
    async with conn.transaction():
        where, _ = await _place(conn, project_id, job_id)
        where["limit"] = SAMPLES
        groups: dict[str, ErrorGroup] = {}
        for name, calls, requests in await _rows(conn, "attempt_errors", where):
            groups[name] = ErrorGroup(name, calls=calls, requests=requests)
        for written, failed, seqs in await _rows(conn, "failed", where):
            name = json.loads(written) if written else "failed"
            group = groups.setdefault(name, ErrorGroup(name))
            group.failed = failed
            rows = await _rows(conn, "failed_samples", {**where, "seqs": seqs})
            group.samples = [(row[0], row[1], json.loads(row[2] or "null") or "") for row in rows]
        for group in groups.values():
            if not group.samples:
                rows = await _rows(conn, "attempt_samples", {**where, "class": group.name})
                group.samples = [(row[0], row[1], row[2] or "") for row in rows]
    return sorted(groups.values(), key=lambda group: (-group.failed, -group.calls, group.name))


async def not_run(conn: Connection, project_id: int, job_id: int) -> NotRun | None:
    """What an ended job has left undone; None where it was not stopped. Raises NotFoundError."""
    where, _ = await _place(conn, project_id, job_id)
    rows = await _rows(conn, "not_run", where)
    if not rows:
        return None
    stop, requests, limit, spent = rows[0]
    [(cheapest,)] = await _rows(conn, "cheapest", where)
    return NotRun(
        stop=stop,
        requests=requests,
        limit_nusd=limit,
        spent_nusd=spent,
        cheapest_nusd=cheapest,
    )


async def closed_now(conn: Connection, project_id: int, job_id: int) -> list[Closed]:
    """Deployments that the job has called and that are not open now. Raises NotFoundError."""
    await _place(conn, project_id, job_id)
    called = await _rows(conn, "called", {"job_id": job_id})
    return await closed_among(conn, [name for (name,) in called])


async def _place(conn: Connection, project_id: int, job_id: int) -> tuple[dict[str, Any], str]:
    """The key of the job's rows, and its status."""
    rows = await _rows(conn, "job", {"project_id": project_id, "job_id": job_id})
    if not rows:
        raise NotFoundError(f"There is no job_{job_id} here. `batchyard jobs` lists them")
    part, status = rows[0]
    return {"part": part, "job_id": job_id}, status


async def _rows(conn: Connection, name: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [*await (await conn.execute(SQL[name], params)).fetchall()]


async def _all(conn: Connection, kind: type[T], name: str, params: Mapping[str, Any]) -> list[T]:
    async with conn.cursor(row_factory=class_row(kind)) as cursor:
        return await (await cursor.execute(SQL[name], params)).fetchall()
