"""Answers that are kept: with their call or not at all, and results of it where nothing better
comes. The audit holds everywhere."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.cascade import Cascade
from core.plan import Plan
from core.work import Entry, GiveBack, LeasedChunk, Window
from db.finish import end_job
from db.lease import read_entries
from db.lifecycle import delete_family, drop_unheld, hold_family, stop_job
from db.strays import fail_strays
from tests.db import kit as kits
from tests.db.kit import BOUND, Kit, again, answered, connect, escalated, kept

Drive = Callable[[Callable[[Kit], Awaitable[Any]]], Any]
PLAN = Plan("smart", ("small", "large"), 100, 6, choose="cascade", cascade=Cascade("learned"))


@pytest.fixture
def drive(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Drive:
    monkeypatch.setattr(kits, "PLAN", PLAN)

    def run(story: Callable[[Kit], Awaitable[Any]]) -> Any:
        async def whole() -> Any:
            async with await connect(database_url) as conn:
                return await story(await Kit.open(conn))

        return asyncio.run(whole())

    return run


async def first_steps(kit: Kit, total: int = 4, **options: Any) -> tuple[int, LeasedChunk]:
    """A job whose cheap answers are all kept; the chunk that was escalated."""
    job = await kit.job(total, **options)
    small, *_ = await kit.claim()
    sent = await kit.intend(small)
    await kit.commit([escalated(one, 0.1 * one.seq) for one in sent])
    large, *_ = await kit.claim("large")
    return job, large


async def results(kit: Kit, job: int) -> list[tuple[Any, ...]]:
    return await kit.rows(
        "select seq, deployment, n, status, step::json ->> 'why', commit_id = 0 from results"
        " where job_id = %(job)s order by seq",
        job=job,
    )


def test_an_answer_is_kept_with_its_call_and_read_for_the_next_one(drive: Drive) -> None:
    async def story(kit: Kit) -> None:
        _, large = await first_steps(kit)
        entries: list[Entry] = await read_entries(kit.conn, [large])
        assert large.escalated
        assert [one.replies for one in entries] == [
            (kept(Entry(_small(large), one.index, b""), pytest.approx(0.1 * one.seq)),)
            for one in entries
        ]
        assert {one.came for one in entries} == {"escalation"}
        await kit.clean()

    drive(story)


def _small(large: LeasedChunk) -> LeasedChunk:
    """The chunk as it was at the step before."""
    return LeasedChunk(
        **{
            **{name: getattr(large, name) for name in LeasedChunk.__dataclass_fields__},
            "deployment": "small",
            "calls": [0] * large.size,
        }
    )


def test_escalations_are_counted_apart_and_doubled_commits_keep_one(drive: Drive) -> None:
    async def story(kit: Kit) -> None:
        job, large = await first_steps(kit, 2)
        entries = await read_entries(kit.conn, [large])
        await kit.commit(windows=[Window(large, 2)])
        await kit.commit([answered(entries[0]), again(entries[1], candidate=1)])
        retried, *_ = await kit.claim("large")
        (last,) = await read_entries(kit.conn, [retried])
        assert last.came == "retry"
        await kit.commit(windows=[Window(retried, 1)])
        await kit.commit([answered(last)])
        assert await end_job(kit.conn, job) == "completed"
        await kit.clean()
        counted = await kit.rows(
            "select deployment, sum(escalations)::int, sum(retries)::int, sum(fallbacks)::int"
            " from job_counters where job_id = %(job)s group by 1 order by 1",
            job=job,
        )
        assert counted == [("large", 0, 1, 0), ("small", 2, 0, 0)]

    drive(story)


def test_where_the_budget_ends_the_earlier_answers_do_and_the_job_goes_on(drive: Drive) -> None:
    async def story(kit: Kit) -> None:
        # Room for the cheap calls (700 each) and one dear one (2,000), not for two.
        job, large = await first_steps(kit, 3, limit=3 * BOUND + 2 * BOUND)
        entries = await read_entries(kit.conn, [large])
        window = Window(large, 3)
        await kit.commit(windows=[window])
        assert (window.granted, window.dear) == (1, False)
        await kit.commit([answered(entries[0], cost=2 * BOUND)])
        window = Window(large, 2)
        await kit.commit(windows=[window])
        assert (window.granted, window.dear, window.stopped) == (0, True, False)
        await kit.commit(back=[GiveBack(large, reason="too dear", settle=True)])
        assert await end_job(kit.conn, job) == "completed"
        assert await results(kit, job) == [
            (0, "large", 2, "completed", None, False),
            (1, "small", 1, "completed", "too dear", True),
            (2, "small", 1, "completed", "too dear", True),
        ]
        await kit.clean()

    drive(story)


def test_a_process_that_dies_before_it_has_closed_the_chunk_loses_and_doubles_nothing(
    drive: Drive,
) -> None:
    async def story(kit: Kit) -> None:
        job, large = await first_steps(kit, 3)
        await read_entries(kit.conn, [large])
        await kit.commit(windows=[Window(large, 1)])
        await kit.commit(back=[GiveBack(large, reason="too dear", settle=True)])
        other = await Kit.open(kit.conn)
        assert await kits.take_over(other, dead=kit.owner) == 1
        await other.clean()
        await other.run(job)
        await other.clean()

    drive(story)


@pytest.mark.parametrize("sent", [0, 2])
def test_a_stopped_job_has_what_was_answered(drive: Drive, sent: int) -> None:
    async def story(kit: Kit) -> None:
        job, large = await first_steps(kit, 4)
        entries = await read_entries(kit.conn, [large])
        if sent:
            await kit.commit(windows=[Window(large, sent)])
        await stop_job(kit.conn, job)
        await kit.commit([answered(one) for one in entries[:sent]])
        await kit.commit(back=[GiveBack(large, drop=True)])
        await drop_unheld(kit.conn, job)
        assert await end_job(kit.conn, job) == "cancelled"
        found = await results(kit, job)
        assert [row[1] for row in found] == ["large"] * sent + ["small"] * (4 - sent)
        assert {row[4] for row in found[sent:]} == {"the job was cancelled"}
        await kit.clean()

    drive(story)


def test_strays_end_with_their_earlier_answers_and_fail_without(drive: Drive) -> None:
    async def story(kit: Kit) -> None:
        job, large = await first_steps(kit, 2)
        await kit.commit(back=[GiveBack(large)])
        other = await kit.job(2, bind=False)
        lost = await kit.rows(
            "select id from chunks where status <> 'done' and job_id = %(job)s", job=other
        )
        [planned] = await kit.claim()
        await kit.commit(back=[GiveBack(planned)])
        assert [planned.id] == [row[0] for row in lost]
        await fail_strays(kit.conn, [large, planned], '{"code": "deployment_gone"}')
        assert [row[3] for row in await results(kit, job)] == ["completed"] * 2
        assert [row[3] for row in await results(kit, other)] == ["failed"] * 2
        assert await end_job(kit.conn, job) == await end_job(kit.conn, other) == "completed"
        await kit.clean()

    drive(story)


def test_a_job_that_is_deleted_takes_its_answers_along(drive: Drive) -> None:
    async def story(kit: Kit) -> None:
        job, large = await first_steps(kit)
        await kit.commit(back=[GiveBack(large)])
        await kit.run(job)
        async with kit.conn.transaction():
            await delete_family(kit.conn, await hold_family(kit.conn, 1, job))
        assert await kit.value("select count(*) from replies") == 0
        await kit.clean()

    drive(story)
