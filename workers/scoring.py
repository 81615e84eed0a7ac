"""Scores of answers, from a process of its own that begins with the first one that is asked for.

While it is at work on a batch the next one gathers, so that there is no waiting for company.
"""

import asyncio
import base64
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import structlog
from psycopg import OperationalError

from core.ports import Scored
from db.connect import Pool
from db.router_models import body_of
from tasks.child import child_environment
from workers.score_frames import LENGTH, Answers, Batch, Scores, framed

log = structlog.get_logger()

CHILD: Final = "workers.score_answers"
MOST: Final = 128
TRIES: Final = 2
LONGEST: Final = 60.0
"""Seconds that a batch may take before the child is given up."""


class AnswerScorer:
    """A `core.ports.Scorer`, for one event loop. The child process gets no key of ours."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: list[tuple[int, Answers, asyncio.Future[Scored | None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._known: set[int] = set()

    async def score(self, model: int, prompt: str, answers: Mapping[str, str]) -> Scored | None:
        """As the port says."""
        told: asyncio.Future[Scored | None] = asyncio.get_running_loop().create_future()
        asked = Answers(_plain(prompt), {who: _plain(text) for who, text in answers.items()})
        self._waiting.append((model, asked, told))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await told

    async def close(self) -> None:
        """Ends the child; what waits for it is not scored."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for _, _, told in self._waiting:
            if not told.done():
                told.set_result(None)
        await self._end_child()

    async def _work(self) -> None:
        while self._waiting:
            model = self._waiting[0][0]
            batch = [one for one in self._waiting if one[0] == model][:MOST]
            scores: Sequence[Scored | None] = [None] * len(batch)
            try:
                scores = await self._score([one[1] for one in batch], model)
            finally:
                taken = {id(one) for one in batch}
                self._waiting = [one for one in self._waiting if id(one) not in taken]
                for (_, _, told), found in zip(batch, scores, strict=True):
                    if not told.done():
                        told.set_result(found)

    async def _score(self, asked: list[Answers], model: int) -> Sequence[Scored | None]:
        for _ in range(TRIES):
            try:
                return await asyncio.wait_for(self._exchange(asked, model), LONGEST)
            except (OSError, EOFError, msgspec.DecodeError, OperationalError) as error:
                # The child died, or the database was away for the model: once more, from new.
                log.warning("answers could not be scored", reason=type(error).__name__)
                await self._end_child()
        return [None] * len(asked)

    async def _exchange(self, asked: list[Answers], model: int) -> list[Scored | None]:
        child = await self._running()
        batch = Batch(model, asked, await self._body(model))
        if child.stdin is None or child.stdout is None:
            raise BrokenPipeError
        child.stdin.write(framed(batch))
        await child.stdin.drain()
        (length,) = LENGTH.unpack(await child.stdout.readexactly(LENGTH.size))
        self._known.add(model)
        return msgspec.json.decode(await child.stdout.readexactly(length), type=Scores).scores

    async def _body(self, model: int) -> str:
        """The model's file, where the child has not seen it; empty where there is none."""
        if model in self._known:
            return ""
        async with self._pool.connection() as conn:
            body = await body_of(conn, model)
        return "" if body is None else base64.b64encode(body).decode()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._child is None or self._child.returncode is not None:
            self._known.clear()
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                CHILD,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=child_environment(),
            )
        return self._child

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()


def _plain(text: str) -> str:
    """Without halves of surrogate pairs, which are no text."""
    return text.encode("utf-8", "replace").decode()
