"""The writer: gathering, and what becomes of a commit whose answer never came."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from core.deployment import Usage
from core.errors import ServiceError
from core.work import GiveBack, Window
from db.connect import open_pool
from db.record import Report
from tasks.record import Writer
from tests.db.kit import BOUND, Kit, again, answered, connect, entries

Story = Callable[[Kit, Writer], Awaitable[Any]]


class Proxy:
    """Stands between the writer and Postgres. Loses the answer to the next commits, in the
    ways in which that happens: `before` the server heard of it, `after` it took effect, or
    `meanwhile`, so late that the writer asks before it takes effect."""

    def __init__(self, database_url: str) -> None:
        self._to = urlsplit(database_url)
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: list[asyncio.WriteTransport] = []
        self.lose: list[str] = []
        self.lost = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            login = f"{self._to.username}:{self._to.password}"
            yield f"postgresql://{login}@127.0.0.1:{port}{self._to.path}?sslmode=disable"
            for transport in self._open:
                transport.abort()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, out = await asyncio.open_connection(self._to.hostname, self._to.port)
        self._open += [writer.transport, out.transport]
        answers = asyncio.create_task(self._pass_on(back, writer))
        self._tasks.add(answers)
        try:
            while block := await reader.read(65536):
                if b"COMMIT" in block and self.lose:
                    self.lost += 1
                    await self._lose(self.lose.pop(0), block, answers, writer, out)
                    break
                out.write(block)
        finally:
            answers.cancel()
            for end in (writer, out):
                end.transport.abort()

    async def _lose(
        self,
        how: str,
        block: bytes,
        answers: asyncio.Task[None],
        writer: asyncio.StreamWriter,
        out: asyncio.StreamWriter,
    ) -> None:
        answers.cancel()
        if how == "before":
            return
        if how == "meanwhile":
            writer.close()
            await asyncio.sleep(0.6)
        out.write(block)
        await out.drain()
        await asyncio.sleep(0.1)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65536):
            writer.write(block)
        writer.close()


class Yard:
    """A writer behind a proxy, and a kit of the same process beside it."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.proxy = Proxy(database_url)
        self.reports: list[Report] = []

    def run(self, story: Story) -> None:
        async def inside() -> None:
            async with await connect(self.database_url) as conn, self.proxy.running() as url:
                kit = await Kit.open(conn)
                # The writer counts its commits from 1, and both are the same process.
                kit.numbers = itertools.count(1000)
                async with open_pool(url, 2) as pool:
                    writer = Writer(pool, kit.owner, self._note)
                    await story(kit, writer)
                    if not writer._task.done():
                        await writer.close()

        asyncio.run(inside())

    async def _note(self, report: Report) -> None:
        self.reports.append(report)


@pytest.fixture
def yard(database_url: str) -> Yard:
    return Yard(database_url)


def test_what_many_hand_in_is_one_commit(yard: Yard) -> None:
    async def story(kit: Kit, writer: Writer) -> None:
        job_id = await kit.job(20)
        chunks = await kit.claim(room=20)
        windows = [Window(chunk, 10) for chunk in chunks]
        await asyncio.gather(*(writer.intend([window]) for window in windows))
        assert [window.granted for window in windows] == [10, 10]
        assert len(yard.reports) == 1
        for chunk in chunks:
            for entry in entries(chunk, range(10)):
                writer.settle(answered(entry))
        await writer.flush()
        assert len(yard.reports) == 2
        assert yard.reports[1].drained == [job_id]
        await kit.clean()

    yard.run(story)


def test_commit_ids_are_its_own(yard: Yard) -> None:
    async def story(kit: Kit, writer: Writer) -> None:
        ids = [writer.next_commit_id() for _ in range(3)]
        assert len(set(ids)) == 3
        assert {id_ >> 32 for id_ in ids} == {kit.owner}

    yard.run(story)


def test_what_was_handed_in_is_committed_before_it_closes(yard: Yard) -> None:
    async def story(kit: Kit, writer: Writer) -> None:
        await kit.job(10)
        [chunk] = await kit.claim()
        await writer.intend([Window(chunk, 10)])
        for entry in entries(chunk, range(4)):
            writer.settle(answered(entry))
        # The writer has taken the batch and is at work on it when it is asked to close.
        while writer._batch:
            await asyncio.sleep(0.001)
        await writer.close()
        assert await kit.value("select count(*) from attempts") == 4
        await writer.close()

    yard.run(story)


@pytest.mark.parametrize(
    "lose", [["before"], ["after"], ["meanwhile"], ["before", "after"], ["before", "meanwhile"]]
)
def test_a_lost_answer_never_means_twice_nor_not_at_all(yard: Yard, lose: list[str]) -> None:
    async def story(kit: Kit, writer: Writer) -> None:
        job_id = await kit.job(30, limit=30 * BOUND)
        first, second, third = await kit.claim(room=30)
        await writer.intend([Window(first, 5), Window(third, 3)])
        sent = entries(first, range(5))
        yard.proxy.lose = list(lose)
        for settled in (answered(sent[0]), again(sent[1]), answered(sent[2])):
            writer.settle(settled)
        windows = [Window(first, 2), Window(second, 4)]
        await asyncio.gather(writer.intend(windows), writer.give_back([GiveBack(third, unsent=3)]))
        assert yard.proxy.lost == len(lose)
        assert [(w.granted, w.stopped, w.short) for w in windows] == [
            (2, False, False),
            (4, False, False),
        ]
        assert (first.sent, first.open) == (7, 4)
        assert (second.sent, second.open) == (4, 4)
        assert (third.sent, third.open, third.ended) == (0, 0, True)
        facts = (await kit.clean()).facts
        assert (facts["attempts"], facts["completed"], facts["open"]) == (3, 2, 28)
        assert (facts["spent_nusd"], facts["reserved_nusd"]) == (1400, 8 * BOUND)
        for chunk, indexes in ((first, range(3, 7)), (second, range(4))):
            for entry in entries(chunk, indexes):
                writer.settle(answered(entry))
        await writer.give_back([GiveBack(first), GiveBack(second)])
        await kit.run(job_id)
        facts = (await kit.clean()).facts
        assert (facts["completed"], facts["attempts"], facts["open"]) == (30, 31, 0)

    yard.run(story)


def test_a_connection_lost_in_the_middle_of_a_commit(yard: Yard) -> None:
    async def story(kit: Kit, writer: Writer) -> None:
        await kit.job(10, limit=10 * BOUND)
        [chunk] = await kit.claim()
        await writer.intend([Window(chunk, 4)])
        async with kit.conn.transaction():
            await kit.conn.execute(b"select from accounts for update")
            writer.settle(answered(entries(chunk, [0])[0]))
            window = Window(chunk, 2)
            task = asyncio.ensure_future(writer.intend([window]))
            waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock'"
            while not (pids := await kit.rows(waiting)):
                await asyncio.sleep(0.01)
            await kit.conn.execute(b"select pg_terminate_backend(%s)", pids[0])
        await task
        assert (window.granted, chunk.sent, chunk.open) == (2, 6, 5)
        facts = (await kit.clean()).facts
        assert (facts["completed"], facts["reserved_nusd"]) == (1, 5 * BOUND)

    yard.run(story)


def test_an_answer_that_postgres_refuses_does_not_end_its_neighbours(yard: Yard) -> None:
    async def story(kit: Kit, writer: Writer) -> None:
        job_id = await kit.job(30, limit=30 * BOUND)
        first, second, third = await kit.claim(room=30)
        await writer.intend([Window(first, 5), Window(third, 3)])
        sent = entries(first, range(5))
        countless, delayed = answered(sent[1]), again(sent[3])
        countless.usage = Usage(10**30, 1)
        delayed.move = replace(delayed.move, delay=1e30) if delayed.move else None
        for settled in (answered(sent[0]), countless, again(sent[2]), delayed, answered(sent[4])):
            writer.settle(settled)
        windows = [Window(first, 2), Window(second, 4)]
        await asyncio.gather(writer.intend(windows), writer.give_back([GiveBack(third, unsent=3)]))
        assert [window.granted for window in windows] == [2, 4]
        assert yard.reports[-1].moved
        facts = (await kit.clean()).facts
        assert (facts["attempts"], facts["completed"], facts["failed"]) == (5, 2, 2)
        assert (facts["spent_nusd"], facts["reserved_nusd"]) == (2 * 700 + BOUND, 6 * BOUND)
        calls = (
            "select status, cost_nusd, input_tokens from attempts where seq in (1, 3) order by seq"
        )
        assert await kit.rows(calls) == [("unknown", BOUND, None), ("error", 0, None)]
        told = await kit.rows("select error::json ->> 'code' from results where status = 'failed'")
        assert told == [("unrecordable",)] * 2
        for chunk, indexes in ((first, range(5, 7)), (second, range(4))):
            for entry in entries(chunk, indexes):
                writer.settle(answered(entry))
        await writer.give_back([GiveBack(first), GiveBack(second)])
        await kit.run(job_id)
        facts = (await kit.clean()).facts
        assert (facts["completed"], facts["failed"], facts["open"]) == (28, 2, 0)

    yard.run(story)


def test_a_broken_writer_says_so_and_keeps_nobody_waiting(yard: Yard) -> None:
    async def story(kit: Kit, writer: Writer) -> None:
        await kit.job(10)
        [chunk] = await kit.claim()
        await writer.intend([Window(chunk, 4)])
        await kit.conn.execute(b"alter table ledger rename to mislaid")
        writer.settle(answered(entries(chunk, [0])[0]))
        with pytest.raises(Exception, match="ledger"):
            await writer.flush()
        for late in (writer.flush(), writer.intend([Window(chunk, 1)])):
            with pytest.raises(ServiceError, match="Restart the worker"):
                await late
        await writer.close()
        await kit.conn.execute(b"alter table mislaid rename to ledger")
        assert (chunk.sent, chunk.open) == (4, 4)
        assert (await kit.clean()).facts["attempts"] == 0

    yard.run(story)
