"""What is known of jobs: lists of them, and one in all its parts."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from core.errors import NotFoundError
from core.ids import job_name
from core.money import usd_text
from db.connect import Connection, statements
from db.linked import LinkedKind, clarified
from db.pilot import lesson_of
from db.waiting import candidates_of, standing_of, waiting_for
from db.waits import why
from db.waves import WaveRow, last_wave

SQL = statements("jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLine:
    """A job in a list. `kind` is `live`, or what a linked job does for its parent; `uncalled`
    requests ended without a call: out of scope, or to be clarified. Money in nano-dollars;
    `unpriced` calls have a cost nobody knows."""

    id: int
    parent_id: int | None
    kind: str
    name: str
    status: str
    paused: bool
    route: str
    source: str
    total: int
    completed: int
    failed: int
    uncalled: int
    cost_nusd: int
    unpriced: int
    created_at: datetime
    ended_at: datetime | None

    @property
    def cost_usd(self) -> str | None:
        """Decimal dollars; None where a call's price is unknown."""
        return None if self.unpriced else usd_text(self.cost_nusd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one deployment did for a job; `latency_ms` is the sum over its good calls,
    `unbooked_nusd` what it reported beyond the bounds of its calls.
    The deployment without a name stands for requests that failed without a call."""

    deployment: str
    attempts: int
    errors: int
    throttled: int
    unknown: int
    retries: int
    fallbacks: int
    escalations: int
    completed: int
    failed: int
    out_of_scope: int
    needs_clarification: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    cost_nusd: int
    latency_ms: int
    unbooked_nusd: int
    updated_at: datetime

    @property
    def mean_latency_ms(self) -> float | None:
        """Over the calls that were answered; None before the first."""
        answered = self.attempts - self.errors
        return self.latency_ms / answered if answered > 0 else None

    @property
    def cost_usd(self) -> str | None:
        """Decimal dollars; None where a call's price is unknown."""
        return None if self.unpriced else usd_text(self.cost_nusd)


@dataclass(frozen=True, slots=True, kw_only=True)
class _JobRow:
    id: int
    parent_id: int | None
    kind: str
    project: str
    part: int
    name: str
    status: str
    stop: str | None
    paused: bool
    weight: float
    route: str
    round: int
    source: str
    metadata: dict[str, str]
    config_digest: str
    total: int
    created_at: datetime
    in_progress_at: datetime | None
    finalizing_at: datetime | None
    stopping_at: datetime | None
    ended_at: datetime | None
    deadline: datetime | None
    limit_nusd: int | None
    spent_nusd: int
    reserved_nusd: int
    read_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class JobView(_JobRow):
    """A job in all its parts. `linked` are the jobs linked to it; `spent_nusd` and
    `reserved_nusd` are of the account that all of these share. `clarified` counts its requests
    that were clarified by how that came out; `lesson` is what came of its pilot, `wave` the newest
    one of a job that is planned as a whole. Times are the database's, `read_at` among them."""

    shares: tuple[Share, ...]
    chunks: dict[str, int]
    why: str
    linked: tuple[JobLine, ...] = ()
    clarified: Mapping[str, int] = field(default_factory=dict)
    lesson: str = ""
    wave: WaveRow | None = None

    def _sum(self, field: str) -> int:
        return sum(getattr(share, field) for share in self.shares)

    @property
    def completed(self) -> int:
        return self._sum("completed")

    @property
    def failed(self) -> int:
        return self._sum("failed")

    @property
    def out_of_scope(self) -> int:
        """Requests that were none of the route's intents."""
        return self._sum("out_of_scope")

    @property
    def needs_clarification(self) -> int:
        """Requests that may have meant several things; clarified ones still count here."""
        return self._sum("needs_clarification")

    @property
    def done(self) -> int:
        """Requests that have ended by themselves."""
        return self.completed + self.failed + self.out_of_scope + self.needs_clarification

    @property
    def unpriced(self) -> int:
        """Calls whose cost nobody knows."""
        return self._sum("unpriced")

    @property
    def unbooked_nusd(self) -> int:
        """What providers reported beyond the bounds of their calls, and was not booked."""
        return self._sum("unbooked_nusd")

    @property
    def cost_nusd(self) -> int:
        """The sum of the known costs."""
        return self._sum("cost_nusd")

    @property
    def cost_usd(self) -> str | None:
        """Decimal dollars; None where a call's price is unknown."""
        return None if self.unpriced else usd_text(self.cost_nusd)

    @property
    def counts(self) -> dict[str, int]:
        """Requests by how they ended; those of a stopped job without a result have its outcome,
        those of a running one are `open`."""
        counts = {"completed": self.completed, "failed": self.failed}
        for name in ("out_of_scope", "needs_clarification"):
            if count := self._sum(name):
                counts[name] = count
        if self.ended_at is None:
            counts["open"] = self.open
        elif rest := self.total - self.done:
            counts[self.stop or "unaccounted"] = rest
        return counts

    @property
    def open(self) -> int:
        """Requests that have not ended."""
        return 0 if self.ended_at else self.total - self.done

    @property
    def seconds(self) -> float:
        """How long it has been, or was, in progress."""
        if self.in_progress_at is None:
            return 0.0
        return ((self.ended_at or self.read_at) - self.in_progress_at).total_seconds()

    @property
    def rate(self) -> float:
        """Requests a second that ended by a call, over all its time."""
        called = sum(s.completed + s.failed for s in self.shares if s.deployment)
        return called / self.seconds if self.seconds > 0 else 0.0

    def rate_since(self, earlier: "JobView") -> float:
        """Requests a second that ended since an earlier view of the job."""
        seconds = (self.read_at - earlier.read_at).total_seconds()
        ended = self.done - earlier.done
        return ended / seconds if seconds > 0 else 0.0

    @property
    def halted(self) -> bool:
        """Whether nothing more of it is sent, for now or for good."""
        return self.stop is not None or self.paused

    @property
    def eta_seconds(self) -> float | None:
        """At the rate so far; None where nothing has ended yet, all has, or nothing is sent."""
        return self.open / self.rate if self.open and self.rate > 0 and not self.halted else None

    def __repr__(self) -> str:
        cost = f"${usd_text(self.cost_nusd)}"
        cost += f" + {self.unpriced} calls of unknown price" if self.unpriced else ""
        done = f"{self.completed} of {self.total} completed, {self.failed} failed"
        return f"<{job_name(self.id)} {self.status}: {done}, {cost}>"


async def list_jobs(
    conn: Connection,
    project_id: int,
    *,
    limit: int = 20,
    before: int | None = None,
    active: bool = False,
) -> list[JobLine]:
    """Newest first, at most `limit` without those linked to them, which stand behind them;
    `before` is the last id of the page before."""
    params = {"project_id": project_id, "limit": limit, "before": before, "active": active}
    async with conn.cursor(row_factory=class_row(JobLine)) as cursor:
        return await (await cursor.execute(_lines("list"), params)).fetchall()


async def job_view(conn: Connection, project_id: int, job_id: int) -> JobView:
    """The job. Raises NotFoundError when the project has no such job."""
    where = {"project_id": project_id, "job_id": job_id}
    async with conn.transaction():
        async with conn.cursor(row_factory=class_row(_JobRow)) as cursor:
            job = await (await cursor.execute(SQL["job"], where)).fetchone()
        if job is None:
            raise NotFoundError(f"There is no job_{job_id} here. `batchyard jobs` lists them")
        async with conn.cursor(row_factory=class_row(Share)) as cursor:
            shares = await (await cursor.execute(SQL["shares"], where)).fetchall()
        async with conn.cursor(row_factory=class_row(JobLine)) as cursor:
            linked = await (await cursor.execute(_lines("linked"), where)).fetchall()
        answers = await clarified(conn, job.part, job_id) if linked else {}
        lesson = await lesson_of(conn, job_id)
        wave = await last_wave(conn, job_id)
        standing = await standing_of(conn, job_id)
        candidates = await candidates_of(conn, job_id)
        needed = tuple(
            (one.kind, one.id)
            for one in linked
            if one.ended_at is None or one.kind == LinkedKind.PILOT
        )
        waiting = await waiting_for(conn, job_id, standing, candidates, needed)
    chunks: dict[str, int] = defaultdict(int)
    for group in standing:
        chunks[group.label] += group.chunks
    fields = {name: getattr(job, name) for name in _JobRow.__dataclass_fields__}
    return JobView(
        **fields,
        shares=tuple(shares),
        chunks=dict(chunks),
        why=why(waiting),
        linked=tuple(linked),
        clarified=answers,
        lesson=lesson,
        wave=wave,
    )


def _lines(name: str) -> bytes:
    return SQL[name].replace(b"{lines}", SQL["lines"])


async def job_events(conn: Connection, job_id: int) -> list[tuple[str, dict[str, Any], datetime]]:
    """The history of a job that `job_view` has found in its project: kind, data, time."""
    return [*await (await conn.execute(SQL["events"], {"job_id": job_id})).fetchall()]
