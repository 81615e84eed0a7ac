"""The Python front: submit a job, follow it, read its results. Plain calls, no `await`.

The calls work from any thread and inside a running event loop too (Jupyter): the yard's own
loop runs in a background thread.
"""

import atexit
import os
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from batchyard.answering import answering
from batchyard.connection import open_context
from batchyard.environment import Place, find_yard
from batchyard.loops import LoopThread
from batchyard.options import scoring_options, submit_options
from core.deadline import Deadline, parse_deadline
from core.ids import job_name, job_number, project_named
from core.status import JobStatus
from db.connect import Connection
from db.jobs import JobView, job_view
from db.projects import find_project
from db.results import Format, stream_results
from db.stories import ErrorGroup, errors_by_class
from tasks import lifecycle
from tasks.clarify import ToClarify, to_clarify
from tasks.clarify import clarify as clarify_step
from tasks.context import Context
from tasks.intake.sources import Source
from tasks.submit import SubmitOptions
from tasks.submit import submit as submit_step

T = TypeVar("T")


class Job:
    """A job of a project, by its id (`job_12`). Nothing is kept here: every call asks."""

    def __init__(self, number: int, project: str) -> None:
        self._number = number
        self._project = project

    @property
    def id(self) -> str:
        """The public id, as the command line and JSON show it."""
        return job_name(self._number)

    def __repr__(self) -> str:
        return f"<batchyard.Job {self.id}>"

    def status(self) -> JobView:
        """How it stands: status, counts, cost, by deployment, rate, ETA, and why it waits."""
        return self._ask(lambda conn, project: job_view(conn, project, self._number))

    def wait(self, timeout: float | None = None, poll: float = 0.5) -> JobView:
        """Its state once it has ended. Raises TimeoutError after `timeout` seconds; the job
        itself goes on."""
        end = None if timeout is None else time.monotonic() + timeout
        while not JobStatus((view := self.status()).status).terminal:
            left = poll if end is None else min(poll, end - time.monotonic())
            if left <= 0:
                waits = f" ({view.why})" if view.why else ""
                raise TimeoutError(
                    f"{self.id} is {view.status} with {view.open} requests open after "
                    f"{timeout} s{waits}. Wait longer, or cancel it"
                )
            time.sleep(left)
        return view

    def results(self) -> Iterator[dict[str, Any]]:
        """The output lines as dicts, in the order of the input; while the job runs, those that
        are there. Memory stays flat."""
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        for block in self.export("jsonl"):
            for line in block.splitlines():
                yield decode(line)

    def export(self, format: Format = "jsonl") -> Iterator[bytes]:  # noqa: A002
        """The results as blocks of whole lines, to write to a file."""
        session = _session()
        stream = session.stream(self._project, self._number, format)
        try:
            while block := session.run(anext(stream, b"")):
                yield block
        finally:
            if not session.closed:
                session.run(stream.aclose())

    def questions(self) -> list[ToClarify]:
        """What its prompts left open, in the order of the input."""
        return self._ask(lambda conn, project: to_clarify(conn, project, self._number))

    def clarify(
        self, answers: Source | Mapping[str, str | int], *, deadline: str | Deadline | None = None
    ) -> "Job | None":
        """Sends on what was answered: a file or dicts with `custom_id` and `answer`, or a mapping
        of these. An answer is an option's number, an intent's name or a text. Returns the linked
        job, whose results are this one's; None where nothing was answered.

        Raises InputError with its `problems`, and ConflictError.
        """
        if isinstance(answers, Mapping):
            answers = [{"custom_id": key, "answer": said} for key, said in answers.items()]
        given, until = answers, parse_deadline(deadline) if isinstance(deadline, str) else deadline
        session = _session()
        done = session.run(
            session.step(
                lambda ctx, project, number: clarify_step(ctx, project, number, given, until),
                self._project,
                self._number,
            )
        )
        return None if done.job_id is None else Job(done.job_id, self._project)

    def errors(self) -> list[ErrorGroup]:
        """What went wrong, by class, with samples."""
        return self._ask(lambda conn, project: errors_by_class(conn, project, self._number))

    def pause(self) -> None:
        """Sends nothing more until `resume`; what is in flight ends and is kept. Raises
        ConflictError when the job is ending or has ended."""
        self._step(lifecycle.pause)

    def resume(self) -> None:
        """Goes on after a `pause`. Raises ConflictError like it."""
        self._step(lifecycle.resume)

    def cancel(self) -> None:
        """Sends nothing more; what is in flight ends and is kept. Raises ConflictError when the
        job has ended already."""
        self._step(lifecycle.cancel)

    def delete(self) -> None:
        """Removes the ended job with its results. Raises ConflictError while it runs."""
        self._step(lifecycle.delete)

    def _ask(self, read: Callable[[Connection, int], Awaitable[T]]) -> T:
        session = _session()
        return session.run(session.ask(self._project, read))

    def _step(self, step: Callable[[Context, int, int], Awaitable[object]]) -> None:
        session = _session()
        session.run(session.step(step, self._project, self._number))


# All but the first by name only.
def submit(  # noqa: PLR0913
    source: Source,
    *,
    route: str | None = None,
    budget: str | Decimal | float | None = None,
    project: str | None = None,
    weight: float = 1.0,
    deadline: str | Deadline | None = None,
    name: str = "",
    metadata: Mapping[str, str] | None = None,
    gold: str | None = None,
    scorer: str | None = None,
    pilot: int | None = None,
    pilot_share: float = 0.2,
    skip_bad_lines: bool = False,
) -> Job:
    """Submits the lines of a file (a path, or "-" for standard input) or of an iterable of
    dicts and strings, where a string is a prompt.

    `route` is for lines that name no model, `budget` is in dollars. `project` is by default
    BATCHYARD_PROJECT or `default`; among its jobs this one gets by its `weight`. What is not
    done by the `deadline` ("2h", an ISO time with its zone, a timedelta or a datetime) expires.
    Answers are scored beside `gold`, a column of the lines' metadata, by `scorer`: `exact` (the
    default), `choice` for letters, or `choice:spam,ham` for words. A `pilot` of so many requests
    tries every candidate of the route first, for up to `pilot_share` of the budget.
    Raises InputError with its `problems` when the input is refused, ConfigError, NotFoundError
    and ServiceError.
    """
    options = submit_options(
        route=route,
        budget=budget,
        project=project,
        weight=weight,
        deadline=deadline,
        name=name,
        metadata=metadata,
        scoring=scoring_options(gold, scorer, pilot, pilot_share),
        skip_bad_lines=skip_bad_lines,
    )
    # A loop of its own: the caller's iterable may itself ask the yard for something.
    apart = LoopThread("batchyard-submit")
    try:
        return Job(apart.run(_submit(source, options)), options.project)
    finally:
        apart.close()


def job(job_id: str | int, *, project: str | None = None) -> Job:
    """The project's job of this id (`"job_12"`, `"12"` or `12`). Raises NotFoundError."""
    found = Job(job_number(job_id), project_named(project, os.environ))
    found.status()
    return found


async def _submit(source: Source, options: SubmitOptions) -> int:
    async with open_context() as ctx:
        return await submit_step(ctx, source, options)


class _Session:
    """An open context on a loop of its own."""

    def __init__(self, place: Place) -> None:
        self.key = (place.database_url, place.broker_url, os.getpid())
        self._home = place.home
        self._loop = LoopThread("batchyard-client")
        self._stack = AsyncExitStack()
        self._context = self.run(self._stack.enter_async_context(open_context()))

    @property
    def closed(self) -> bool:
        return self._loop.closed

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work returns. Raises ServiceError where Postgres does not answer."""
        with answering(self._home):
            return self._loop.run(work)

    async def ask(self, project: str, read: Callable[[Connection, int], Awaitable[T]]) -> T:
        async with self._context.pool.connection() as conn:
            return await read(conn, await find_project(conn, project))

    async def step(
        self,
        step: Callable[[Context, int, int], Awaitable[T]],
        project: str,
        number: int,
    ) -> T:
        async with self._context.pool.connection() as conn:
            project_id = await find_project(conn, project)
        return await step(self._context, project_id, number)

    async def stream(
        self,
        project: str,
        number: int,
        format: Format,  # noqa: A002
    ) -> AsyncGenerator[bytes, None]:
        async with self._context.pool.connection() as conn:
            project_id = await find_project(conn, project)
            async for block in stream_results(conn, project_id, number, format):
                yield block

    def close(self) -> None:
        if self.key[-1] == os.getpid():
            self.run(self._stack.aclose())
            self._loop.close()


class _Sessions:
    """One session at a time: a new one when the environment names another yard, or after a
    fork, which does not take threads along."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: _Session | None = None

    def get(self) -> _Session:
        place = find_yard()
        with self._lock:
            key = (place.database_url, place.broker_url, os.getpid())
            if self._open is None or self._open.key != key:
                self._close()
                self._open = _Session(place)
            return self._open

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


_sessions = _Sessions()
atexit.register(_sessions.close)
_session = _sessions.get
