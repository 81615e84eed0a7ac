"""The composition root of a worker process.

One event loop per process, in a thread of its own, lives as long as the process: all steps
run on it, whichever Celery thread asked. It carries the connection pool, the writer, the
transport, the limiter, and the renewal of the process' lease.
"""

import asyncio
import gc
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog
import uvloop
from psycopg import OperationalError
from psycopg.errors import UndefinedTable
from structlog.contextvars import bound_contextvars

from core.errors import BatchyardError, ServiceError
from core.ports import Publisher
from db.connect import open_pool
from db.processes import end, register, renew, session_name
from db.projects import put_weights
from db.record import Report
from providers.catalog import project_buckets
from providers.transport import make_transport
from tasks.calls.attempt import Caller
from tasks.calls.trace import traced
from tasks.context import Context
from tasks.halts import watch_halts
from tasks.health import Health
from tasks.meters import Meters
from tasks.record import Writer
from tasks.vitals import keep_vitals
from tasks.watch import watch
from tasks.yard import Yard
from workers import environment
from workers.keyring import Keyring
from workers.limiter.redis_limiter import RedisLimiter
from workers.logs import know
from workers.scoring import AnswerScorer
from workers.signs import BROKEN_EXIT, LOST_LEASE_EXIT, NO_YARD_EXIT, SIGNS, YARD_OPEN

log = structlog.get_logger()
signs = structlog.get_logger(SIGNS)

POOL_SIZE = 6
MAX_CONNECTIONS = 2048
DISPATCH_PAUSE = 0.5
PATIENCE = 5.0

Answer = TypeVar("Answer")


@asynccontextmanager
async def open_yard(
    publisher: Publisher, kind: str, meters: Meters, *, controls: bool
) -> AsyncIterator[Yard]:
    """Everything a step may use, with this process registered and its lease renewed."""
    settings = environment.settings()
    deployments = environment.deployments()
    async with AsyncExitStack() as stack:
        name = session_name(socket.gethostname(), os.getpid())
        opening = open_pool(environment.database_url(), POOL_SIZE, name=name)
        pool = await stack.enter_async_context(opening)
        context = Context(settings, deployments, pool, publisher, router=meters.router)
        process_id = await _register(context, kind, controls=controls)
        transport = make_transport("direct", max_connections=MAX_CONNECTIONS)
        stack.push_async_callback(transport.close)
        # As long as the lease: by then the sweep has taken over what this process held.
        limiter = RedisLimiter(
            environment.limiter_url(),
            holder=str(process_id),
            expiry=settings.yard.lease,
            share=settings.yard.express_share,
        )
        stack.push_async_callback(limiter.close)
        scorer = AnswerScorer(pool)
        stack.push_async_callback(scorer.close)
        writer = Writer(pool, process_id, _after_commit(publisher), meters)
        caller = Caller(
            deployments,
            Keyring(),
            transport,
            limiter,
            Health(deployments, closings=meters.closings),
            meters,
            project_buckets(settings),
            scorer,
        )
        yard = Yard(context, process_id, writer, caller, asyncio.Event())
        vital = [_vital(_renew(yard)), _vital(writer.watch())]
        vital.append(_vital(_touch(limiter, settings.yard.heartbeat)))
        vital.append(_vital(caller.health.keep(pool, limiter)))
        vital.append(_vital(watch(pool, deployments)))
        vital.append(_vital(watch_halts(yard)))
        vital.append(_vital(keep_vitals(pool, process_id, meters)))
        try:
            yield yard
        finally:
            for task in vital:
                task.cancel()
            await writer.close()
            async with pool.connection() as conn:
                await end(conn, process_id)


async def _register(context: Context, kind: str, *, controls: bool) -> int:
    lease = context.settings.yard.lease
    host, pid = socket.gethostname(), os.getpid()
    try:
        async with context.pool.connection() as conn:
            projects = context.settings.projects
            await put_weights(conn, {name: one.weight for name, one in projects.items()})
            return await register(
                conn, kind=kind, host=host, pid=pid, lease=lease, controls=controls
            )
    except UndefinedTable as error:
        raise ServiceError(
            "the database does not have batchyard's tables. Run `batchyard migrate`"
        ) from error


def _after_commit(publisher: Publisher) -> Callable[[Report], Awaitable[None]]:
    """What a commit sets in motion; the writer does not wait for the bells. What moved on may
    be another provider's work: dispatch hears of it, now and then."""
    ringing: set[asyncio.Task[None]] = set()
    quiet_until = 0.0

    def publish(step: str, *arguments: int) -> None:
        task = asyncio.create_task(publisher.publish(step, *arguments))
        ringing.add(task)
        task.add_done_callback(ringing.discard)

    async def ring(report: Report) -> None:
        nonlocal quiet_until
        for job_id in report.drained:
            publish("finish", job_id)
        for job_id in report.lean:
            publish("plan", job_id)
        now = asyncio.get_running_loop().time()
        if report.moved and now >= quiet_until:
            quiet_until = now + DISPATCH_PAUSE
            publish("dispatch")

    return ring


def _vital(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    """Without its lease, its writer or its permits a process does harm: it ends when one of
    them breaks down, its chunks go to the sweep, and whoever started it starts it again."""

    def ended(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("this worker has broken down", **traced(error))
            os._exit(BROKEN_EXIT)

    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    return task


async def _touch(limiter: RedisLimiter, heartbeat: float) -> None:
    """Keeps this process' calls in flight counted; apart from the lease, because a broker that
    is away must not cost the lease."""
    while True:
        await asyncio.sleep(heartbeat)
        await limiter.touch()


async def _renew(yard: Yard) -> None:
    """Keeps the lease; a process whose row is gone has no business going on."""
    context, loop = yard.context, asyncio.get_running_loop()
    lease = context.settings.yard.lease
    while True:
        try:
            async with context.pool.connection() as conn:
                kept = await renew(conn, yard.process_id, lease)
        except OperationalError as error:
            log.warning("lease not renewed", reason=type(error).__name__)
        else:
            if not kept:
                log.error("this process' lease was withdrawn")
                os._exit(LOST_LEASE_EXIT)
            yard.pulse.beat(loop.time(), lease)
        await asyncio.sleep(context.settings.yard.heartbeat)


def _collect_seldom() -> None:
    """Entries and replies die by themselves, without a cycle: the collector's usual rhythm of
    700 new objects would walk over thousands of calls in flight again and again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@dataclass(frozen=True, slots=True)
class _Open:
    """A yard that is open, the loop it lives on, and the sign to close it."""

    yard: Yard
    loop: asyncio.AbstractEventLoop
    closing: asyncio.Event


class Process:
    """The bridge from Celery's threads to the process' one loop."""

    def __init__(self, publisher: Publisher) -> None:
        self.meters = Meters()
        self._publisher = publisher
        self._kind = "worker"
        self._controls = False
        self._lock = threading.Lock()
        self._opened: Future[_Open] = Future()
        self._thread: threading.Thread | None = None

    def start(self, kind: str | None = None, *, controls: bool = False) -> None:
        """Opens the yard if it is not open yet; `kind` is how `ps` names this process, `controls`
        says that it takes the tickets of dispatch."""
        with self._lock:
            if self._thread is None:
                self._kind, self._controls = kind or self._kind, controls
                self._thread = threading.Thread(target=self._live, name="yard", daemon=True)
                self._thread.start()

    def run(
        self, name: str, step: Callable[[Yard], Coroutine[None, None, str]], **about: int | str
    ) -> str:
        """Runs a step on the loop and waits for its line. Called from Celery's threads.
        `about` (job, provider, ticket) stands in every log line of the step."""
        self.start()
        opened = self._opened.result()
        provider = str(about.get("provider", ""))
        with bound_contextvars(step=name, **about), self.meters.stepping(name, provider):
            return asyncio.run_coroutine_threadsafe(step(opened.yard), opened.loop).result()

    @property
    def yard(self) -> Yard | None:
        """The open yard; None while it is being opened."""
        return self._opened.result().yard if self._opened.done() else None

    def ask(self, question: Callable[[Yard], Coroutine[None, None, Answer]]) -> Answer:
        """What `question` finds on the loop. Raises TimeoutError when that takes longer than
        five seconds, or the yard is not open."""
        opened = self._opened.result(timeout=PATIENCE)
        found = asyncio.run_coroutine_threadsafe(question(opened.yard), opened.loop)
        try:
            return found.result(timeout=PATIENCE)
        except TimeoutError:
            found.cancel()
            raise

    def stop_claiming(self) -> None:
        """Lanes end their slices now; calls in flight go on to their end."""
        if self._opened.done():
            opened = self._opened.result()
            opened.loop.call_soon_threadsafe(opened.yard.stopping.set)

    def close(self) -> None:
        """Commits what is left, gives the lease back, stops the loop."""
        if self._thread is not None and self._opened.done():
            opened = self._opened.result()
            opened.loop.call_soon_threadsafe(opened.closing.set)
            self._thread.join(timeout=30)

    def _live(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main())
        except BatchyardError as error:
            log.error("the yard cannot be opened", reason=str(error))
            os._exit(NO_YARD_EXIT)
        except Exception as error:  # noqa: BLE001
            # Without its yard a worker can do nothing, and whoever waits for it would wait for
            # ever; whoever started it starts it again.
            opened = self._opened.done()
            log.error("the yard broke down" if opened else "no yard", **traced(error))
            os._exit(BROKEN_EXIT if opened else NO_YARD_EXIT)

    async def _main(self) -> None:
        closing = asyncio.Event()
        opening = open_yard(self._publisher, self._kind, self.meters, controls=self._controls)
        async with opening as yard:
            _collect_seldom()
            self._opened.set_result(_Open(yard, asyncio.get_running_loop(), closing))
            know(process=yard.process_id)
            signs.info(YARD_OPEN)
            await closing.wait()
