"""The composition root of a worker process.

One event loop per process, in a thread of its own, lives as long as the process: all steps
run on it, whichever Celery thread asked. It carries the connection pool, the writer, the
transport, the limiter, and the renewal of the process' lease.
"""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
import uvloop
from psycopg import OperationalError

from core.ports import Publisher
from db.connect import open_pool
from db.processes import end, register, renew
from db.record import Report
from providers.transport import make_transport
from tasks.attempt import Caller
from tasks.context import Context, Yard
from tasks.record import Writer
from workers import environment
from workers.keyring import Keyring
from workers.limiter.redis_limiter import RedisLimiter

log = structlog.get_logger()

POOL_SIZE = 6
MAX_CONNECTIONS = 2048
LOST_LEASE_EXIT = 75


@asynccontextmanager
async def open_yard(publisher: Publisher, kind: str) -> AsyncIterator[Yard]:
    """Everything a step may use, with this process registered and its lease renewed."""
    settings = environment.settings()
    deployments = environment.deployments()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(environment.database_url(), POOL_SIZE))
        context = Context(settings, deployments, pool, publisher)
        async with pool.connection() as conn:
            process_id = await register(
                conn,
                kind=kind,
                host=socket.gethostname(),
                pid=os.getpid(),
                lease=settings.yard.lease,
            )
        transport = make_transport("pyreqwest", max_connections=MAX_CONNECTIONS)
        stack.push_async_callback(transport.close)
        limiter = RedisLimiter(environment.limiter_url(), holder=str(process_id))
        stack.push_async_callback(limiter.close)
        writer = Writer(pool, process_id, _after_commit(publisher))
        caller = Caller(deployments, Keyring(settings), transport, limiter)
        renewal = asyncio.create_task(_renew(context, process_id, limiter))
        try:
            yield Yard(context, process_id, writer, caller, asyncio.Event())
        finally:
            renewal.cancel()
            await writer.close()
            async with pool.connection() as conn:
                await end(conn, process_id)


def _after_commit(publisher: Publisher) -> Callable[[Report], Awaitable[None]]:
    """What a commit sets in motion; the writer does not wait for the bells."""
    ringing: set[asyncio.Task[None]] = set()

    async def ring(report: Report) -> None:
        for job_id in report.drained:
            task = asyncio.create_task(publisher.publish("finish", job_id))
            ringing.add(task)
            task.add_done_callback(ringing.discard)

    return ring


async def _renew(context: Context, process_id: int, limiter: RedisLimiter) -> None:
    """Keeps the lease; a process whose row is gone has no business going on."""
    lease = context.settings.yard.lease
    while True:
        await asyncio.sleep(context.settings.yard.heartbeat)
        await limiter.touch()
        try:
            async with context.pool.connection() as conn:
                kept = await renew(conn, process_id, lease)
        except OperationalError as error:
            log.warning("lease not renewed", reason=type(error).__name__)
            continue
        if not kept:
            log.error("this process' lease was withdrawn")
            os._exit(LOST_LEASE_EXIT)


class Process:
    """The bridge from Celery's threads to the loop."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._kind = "worker"
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._yard: Future[Yard] = Future()
        self._closing: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self, kind: str) -> None:
        """Opens the yard if it is not open; `kind` is how `ps` names this process."""
        with self._lock:
            if self._thread is None:
                self._kind = kind
                self._thread = threading.Thread(target=self._live, name="yard", daemon=True)
                self._thread.start()
        self._yard.result()

    def run(self, step: Callable[[Yard], Awaitable[str]]) -> str:
        """Runs a step on the loop and waits for its line. Called from Celery's threads."""
        self.start(self._kind)
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(_awaited(step, self._yard.result()), self._loop).result()

    def stop_claiming(self) -> None:
        """Lanes end their slices now; calls in flight go on to their end."""
        if self._loop is not None and self._yard.done():
            self._loop.call_soon_threadsafe(self._yard.result().stopping.set)

    def close(self) -> None:
        """Commits what is left, gives the lease back, stops the loop."""
        if self._loop is not None and self._closing is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(timeout=30)

    def _live(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        try:
            async with open_yard(self._publisher, self._kind) as yard:
                self._yard.set_result(yard)
                await self._closing.wait()
        except Exception as error:
            if not self._yard.done():
                self._yard.set_exception(error)
            raise


async def _awaited(step: Callable[[Yard], Awaitable[str]], yard: Yard) -> str:
    return await step(yard)
