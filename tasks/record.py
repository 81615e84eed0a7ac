"""The writer: one per process; everything a process has to say goes through it.

It gathers replies, windows and give-backs into micro-batches and commits each in one
transaction under a commit id of its own. Whoever hands something in waits on the future.

Where Postgres refuses a batch for what is in it, its parts are committed one by one, and a call
that cannot be recorded as it is goes down as one that nobody knows the answer of: a single
answer must not end the process, and the next that calls it, and so on.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from psycopg import DataError, IntegrityError, OperationalError
from psycopg.errors import ProgramLimitExceeded

from core.errors import ServiceError
from core.status import AttemptStatus
from core.work import Batch, GiveBack, Settled, Window
from db.connect import Pool
from db.record import Report, commit, was_committed
from db.reread import reread
from providers.errors import ErrorClass, ProviderError
from tasks.calls.decide import failure
from tasks.meters import Meters

log = structlog.get_logger()

GATHER = 0.1
SOON = 0.025
FULL = 200
RETRY_PAUSE = 0.25
REFUSED = (DataError, IntegrityError, ProgramLimitExceeded, UnicodeError)
UNRECORDABLE = (
    "Postgres refused what this call brought, so its answer is lost; what it may have cost stays "
    "booked. The worker's log names the reason. Submit the request again"
)

AfterCommit = Callable[[Report], Awaitable[None]]


class Writer:
    """Gathers for `GATHER` seconds or `FULL` replies, then commits; for `SOON` seconds only when
    somebody can do nothing before."""

    def __init__(
        self,
        pool: Pool,
        process_id: int,
        after_commit: AfterCommit,
        meters: Meters | None = None,
    ) -> None:
        self._pool = pool
        self._owner = process_id
        self._after_commit = after_commit
        self._meters = meters or Meters()
        self._numbers = itertools.count(1)
        self._batch = Batch()
        self._waiting: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._soon = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def queue(self) -> int:
        """Calls that wait for the next commit."""
        return len(self._batch.settled)

    def next_commit_id(self) -> int:
        """A commit id that no other process and no other commit has."""
        return (self._owner << 32) | next(self._numbers)

    def settle(self, settled: Settled) -> None:
        """Hands in one call's end; nobody waits for it."""
        self._batch.settled.append(settled)
        self._ring(soon=len(self._batch.settled) >= FULL)

    async def intend(self, windows: list[Window], *, soon: bool = True) -> None:
        """Returns once the windows are committed; their fields say what was granted. Who has
        something to send meanwhile need not have it `soon`."""
        self._batch.windows.extend(windows)
        await self._written(soon)

    async def give_back(self, back: list[GiveBack]) -> None:
        """Returns once the chunks are back in the yard."""
        self._batch.back.extend(back)
        await self._written()

    async def flush(self) -> None:
        """Returns once everything handed in so far is committed."""
        await self._written()

    async def watch(self) -> None:
        """Lasts as long as the writer; raises what broke it."""
        await asyncio.shield(self._task)

    async def close(self) -> None:
        """Commits what is left and stops."""
        if not self._task.done():
            await self.flush()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _ring(self, *, soon: bool) -> None:
        self._wake.set()
        if soon:
            self._soon.set()

    def _written(self, soon: bool = True) -> Awaitable[None]:
        if self._task.done():
            raise ServiceError("this process' writer has broken down. Restart the worker")
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._ring(soon=soon)
        return future

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await self._gather()
            batch, self._batch = self._batch, Batch()
            waiting, self._waiting = self._waiting, []
            self._wake.clear()
            self._soon.clear()
            try:
                if batch:
                    report = await self._commit(batch)
                    await self._after_commit(report)
            except Exception as error:
                for future in itertools.chain(waiting, self._waiting):
                    if not future.done():
                        future.set_exception(error)
                raise
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def _gather(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._soon.wait(), GATHER)
            if len(self._batch.settled) < FULL:
                await asyncio.sleep(SOON)

    async def _commit(self, batch: Batch) -> Report:
        """Commits the batch, in parts where it is refused whole."""
        try:
            return await self._commit_whole(batch)
        except REFUSED as error:
            self._meters.commit_troubles["refused"] += 1
            log.error("commit refused, committing its parts", **_why(error))
        report = Report()
        for settled in batch.settled:
            _join(report, await self._commit_call(settled))
        for window in batch.windows:
            _join(report, await self._commit_whole(Batch(windows=[window])))
        for back in batch.back:
            _join(report, await self._commit_whole(Batch(back=[back])))
        return report

    async def _commit_call(self, settled: Settled) -> Report:
        try:
            return await self._commit_whole(Batch([settled]))
        except REFUSED as error:
            entry = settled.entry
            where = {"job": entry.chunk.job_id, "seq": entry.seq, "n": entry.n}
            log.error("a call cannot be recorded as it is", **where, **_why(error))
        return await self._commit_whole(Batch([_bare(settled)]))

    async def _commit_whole(self, batch: Batch) -> Report:
        """Commits, however often the connection is lost on the way. Before it writes again
        it asks whether the last try took effect."""
        began = time.perf_counter()
        report = await self._commit_surely(batch)
        self._meters.committed(batch, report.stale, time.perf_counter() - began)
        return report

    async def _commit_surely(self, batch: Batch) -> Report:
        commit_id = self.next_commit_id()
        unsure = False
        refused: Exception | None = None
        while True:
            try:
                async with self._pool.connection() as conn:
                    if unsure and await was_committed(conn, commit_id):
                        return await reread(conn, batch)
                    if refused is not None:
                        raise refused
                    unsure = True
                    return await commit(conn, batch, commit_id=commit_id, owner=self._owner)
            except REFUSED as error:
                if refused is not None:
                    raise
                # A lost try may take effect while the next one waits for its locks.
                refused = error
            except OperationalError as error:
                self._meters.commit_troubles["interrupted"] += 1
                log.warning("commit interrupted, trying again", reason=type(error).__name__)
                await asyncio.sleep(RETRY_PAUSE)


def _join(report: Report, part: Report) -> None:
    report.stale |= part.stale
    report.drained = sorted({*report.drained, *part.drained})
    report.moved |= part.moved
    report.lean = sorted({*report.lean, *part.lean})


def _why(error: Exception) -> dict[str, str]:
    """For the log: Postgres' message may quote the very answer."""
    return {"reason": type(error).__name__, "sqlstate": getattr(error, "sqlstate", None) or ""}


def _bare(settled: Settled) -> Settled:
    """The call without anything that came from outside: a failed request, at its bound where
    money may be gone."""
    free = settled.cost_nusd == 0 and settled.status is AttemptStatus.ERROR
    lost = ProviderError(ErrorClass.UNKNOWN, None, "unrecordable", UNRECORDABLE)
    cost = None if settled.cost_nusd is None else settled.entry.bound
    return Settled(
        entry=settled.entry,
        status=AttemptStatus.ERROR if free else AttemptStatus.UNKNOWN,
        latency_ms=0,
        cost_nusd=0 if free else cost,
        error_class=ErrorClass.UNKNOWN,
        error=UNRECORDABLE,
        result=failure(lost),
    )
