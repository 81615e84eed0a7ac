"""What a commit writes, when part of it is not this process' business any more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from psycopg import OperationalError

from core.work import Batch, GiveBack, LeasedChunk, Window
from db.finish import drop_unsent, end_job
from db.lease import claim, disown
from db.lifecycle import drop_unheld, set_paused, stop_job
from db.record import commit, was_committed
from db.reread import reread
from tests.db.kit import (
    BOUND,
    Kit,
    again,
    answered,
    bind_fair,
    connect,
    entries,
    failed,
    in_doubt,
    take_over,
)


@pytest.fixture
def drive(database_url: str) -> Callable[[Callable[[Kit, Kit], Awaitable[Any]]], Any]:
    """Runs a story with two processes on one connection each."""

    def run(story: Callable[[Kit, Kit], Awaitable[Any]]) -> Any:
        async def inside() -> Any:
            async with await connect(database_url) as one, await connect(database_url) as two:
                return await story(await Kit.open(one), await Kit.open(two))

        return asyncio.run(inside())

    return run


Drive = Callable[[Callable[[Kit, Kit], Awaitable[Any]]], Any]


def test_a_window_reserves_what_it_grants_and_a_reply_settles_it(drive: Drive) -> None:
    async def story(kit: Kit, _: Kit) -> None:
        job_id = await kit.job(10, limit=100 * BOUND)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk, 4)
        assert (chunk.sent, chunk.open) == (4, 4)
        assert (await kit.clean()).facts["reserved_nusd"] == 4 * BOUND
        await kit.commit([answered(sent[0]), failed(sent[1])])
        assert (chunk.sent, chunk.open) == (4, 2)
        facts = (await kit.clean()).facts
        assert (facts["spent_nusd"], facts["reserved_nusd"]) == (700, 2 * BOUND)
        [row] = await kit.rows(
            "select status, body, error, http_status, request_id from results where seq = 0"
        )
        assert row == ("completed", '{"answer": "tab\\t"}', None, 200, "req-0")
        assert await end_job(kit.conn, job_id) is None

    drive(story)


def test_a_chunk_closes_with_its_last_reply_and_drains_its_job(drive: Drive) -> None:
    async def story(kit: Kit, _: Kit) -> None:
        job_id = await kit.job(3, size=3)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk)
        report = await kit.commit([answered(sent[0]), answered(sent[2])])
        assert report.drained == []
        report = await kit.commit([answered(sent[1])])
        assert report.drained == [job_id]
        assert await end_job(kit.conn, job_id) == "completed"
        await kit.clean()

    drive(story)


def test_retries_and_fallbacks_travel_together(drive: Drive) -> None:
    async def story(kit: Kit, _: Kit) -> None:
        await kit.job(6, size=6)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk)
        report = await kit.commit(
            [
                again(sent[0]),
                again(sent[1], candidate=1),
                again(sent[2], candidate=1),
                again(sent[3], delay=0.2),
                again(sent[4], delay=0.4),
                answered(sent[5]),
            ]
        )
        assert report.moved
        assert report.drained == []
        rows = await kit.rows(
            "select deployment, status, seqs, tries, calls, bounds from chunks"
            " where kind = 'call' and status <> 'done' order by seqs"
        )
        assert rows == [
            ("small", "ready", [0], [1], [1], [BOUND]),
            ("large", "planned", [1, 2], [1, 1], [1, 1], [2 * BOUND] * 2),
            ("small", "waiting", [3, 4], [1, 1], [1, 1], [BOUND] * 2),
        ]
        await kit.clean()

    drive(story)


def test_retries_and_fallbacks_are_counted_when_they_are_made(drive: Drive) -> None:
    async def story(kit: Kit, _: Kit) -> None:
        job_id = await kit.job(3, size=3)
        [chunk] = await kit.claim()
        stays, moves, waits = await kit.intend(chunk)
        await kit.commit([again(stays), again(moves, delay=0.1), again(waits, delay=9.0)])
        shares = (
            "select deployment, sum(attempts), sum(retries), sum(fallbacks) from job_counters"
            " group by 1 order by 1"
        )
        # Where they go on is not said yet: one is at the same deployment, one goes elsewhere.
        assert await kit.rows(shares) == [("small", 3, 0, 0)]
        await kit.conn.execute(
            b"update chunks set deployment = 'large', candidate = 1, status = 'ready',"
            b" not_before = now() where status = 'waiting' and seqs = '{1}'"
        )
        for deployment in ("small", "large"):
            [taken] = await claim(kit.conn, deployment, owner=kit.owner, room=1)
            await kit.commit([answered(entry) for entry in await kit.intend(taken)])
        assert await kit.rows(shares) == [("large", 1, 0, 0), ("small", 4, 1, 1)]
        await kit.clean()
        await kit.run(job_id)
        assert await kit.rows(shares) == [("large", 1, 0, 0), ("small", 5, 2, 1)]
        await kit.clean()

    drive(story)


def test_a_stale_chunk_does_not_fail_its_neighbours(drive: Drive) -> None:
    async def story(kit: Kit, other: Kit) -> None:
        await kit.job(20)
        lost, kept = await kit.claim(room=20)
        sent_lost = await kit.intend(lost, 3)
        sent_kept = await kit.intend(kept, 3)
        await kit.conn.execute(b"update chunks set owner = null where id = %s", (lost.id,))
        assert await take_over(other, dead=0) == 3
        window, late_window = Window(kept, 2), Window(lost, 2)
        report = await kit.commit(
            [answered(sent_lost[0], cost=450), answered(sent_kept[0])],
            windows=[window, late_window],
            back=[GiveBack(lost, unsent=1)],
        )
        assert report.stale == {lost.id}
        assert (window.granted, window.stopped) == (2, False)
        assert (late_window.granted, late_window.stopped) == (0, True)
        assert (kept.sent, kept.open) == (5, 4)
        facts = (await kit.clean()).facts
        assert (facts["late"], facts["unknown"]) == (1, 2)
        assert facts["spent_nusd"] == 450 + 2 * BOUND + 700
        assert await kit.rows(
            "select status, cost_nusd, input_tokens from attempts where n = 1 and seq = 0"
        ) == [("late", 450, 9)]
        adjusted = await kit.rows("select distinct amount_nusd from ledger where kind = 'adjust'")
        assert adjusted == [(450 - BOUND,)]
        assert await kit.value("select count(*) from results where seq = 0") == 0

    drive(story)


def test_an_answer_to_what_was_left_to_the_sweep_counts_until_that_has_been_there(
    drive: Drive,
) -> None:
    """A lane that broke down leaves its chunks to the sweep; its calls in flight go on."""

    async def story(kit: Kit, other: Kit) -> None:
        job_id = await kit.job(10)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk, 5)
        await disown(kit.conn, [chunk], kit.owner)
        window = Window(chunk, 2)
        ends = [answered(sent[0], cost=450), again(sent[1]), failed(sent[2])]
        report = await kit.commit(ends, windows=[window], back=[GiveBack(chunk)])
        assert report.stale == set()
        # The sweep says what becomes of the rest.
        assert (window.granted, window.stopped) == (0, True)
        facts = (await kit.clean()).facts
        assert (facts["completed"], facts["failed"], facts["unknown"]) == (1, 1, 0)
        assert await take_over(other, dead=0) == 2
        await kit.commit([answered(sent[3], cost=300)])
        await other.run(job_id)
        facts = (await kit.clean()).facts
        assert (facts["completed"], facts["failed"]) == (9, 1)
        assert (facts["late"], facts["unknown"]) == (1, 1)
        # Six were never called before; a second call each of one that failed, and of two in doubt.
        assert facts["spent_nusd"] == 450 + 300 + BOUND + 8 * 700
        assert facts["reserved_nusd"] == 0

    drive(story)


def test_all_of_a_chunk_that_was_left_to_the_sweep_may_be_answered(drive: Drive) -> None:
    async def story(kit: Kit, other: Kit) -> None:
        job_id = await kit.job(3, size=3)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk)
        await disown(kit.conn, [chunk], kit.owner)
        report = await kit.commit([answered(one) for one in sent])
        assert report.drained == [job_id]
        assert await take_over(other, dead=0) == 0
        assert await end_job(kit.conn, job_id) == "completed"
        assert (await kit.clean()).facts["attempts"] == 3

    drive(story)


def test_an_answer_between_the_sweep_and_the_next_call_is_booked_at_its_cost(drive: Drive) -> None:
    """Also one that comes while the sweep is writing its call off: it waits for the end of that.
    The result is the next call's."""

    async def story(kit: Kit, other: Kit) -> None:
        job_id = await kit.job(3, size=3)
        [chunk] = await kit.claim()
        one, two, three = await kit.intend(chunk)
        await kit.conn.execute(b"update chunks set owner = null where id = %s", (chunk.id,))
        async with other.conn.transaction():
            assert await take_over(other, dead=0) == 3
            coming = asyncio.create_task(kit.commit([answered(one, cost=450)]))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(coming), 0.5)
        assert (await coming).stale == {chunk.id}
        refused = again(two, kind="throttled")
        await kit.commit([refused])
        facts = (await kit.clean()).facts
        assert (facts["completed"], facts["late"], facts["unknown"]) == (0, 2, 1)
        assert facts["spent_nusd"] == 450 + BOUND
        await other.run(job_id)
        await kit.commit([answered(three, cost=200)])
        facts = (await kit.clean()).facts
        assert (facts["completed"], facts["late"], facts["attempts"]) == (3, 3, 6)
        assert (facts["spent_nusd"], facts["reserved_nusd"]) == (450 + 200 + 3 * 700, 0)

    drive(story)


def test_a_late_reply_counts_once(drive: Drive) -> None:
    async def story(kit: Kit, other: Kit) -> None:
        await kit.job(10)
        [chunk] = await kit.claim()
        [one, two, three] = await kit.intend(chunk, 3)
        await take_over(other, dead=kit.owner)
        for _ in range(2):
            await kit.commit([answered(one, cost=450)])
        unpriced = answered(two)
        unpriced.cost_nusd = None
        await kit.commit([unpriced, in_doubt(three)])
        facts = (await kit.clean()).facts
        assert facts["spent_nusd"] == 450 + BOUND
        assert (facts["late"], facts["unpriced"], facts["unknown"]) == (2, 1, 1)

    drive(story)


def test_a_late_bill_above_its_bound_is_booked_in_full_and_reported(drive: Drive) -> None:
    async def story(kit: Kit, other: Kit) -> None:
        await kit.job(10)
        [chunk] = await kit.claim()
        [one] = await kit.intend(chunk, 1)
        await take_over(other, dead=kit.owner)
        await kit.commit([answered(one, cost=BOUND + 1)])
        report = await kit.audit()
        assert [violation.law for violation in report.violations] == ["bill_above_bound"]
        assert report.facts["spent_nusd"] == BOUND + 1

    drive(story)


def test_what_is_reported_above_a_bound_is_told_beside_what_is_booked(drive: Drive) -> None:
    async def story(kit: Kit, other: Kit) -> None:
        await kit.job(10)
        [chunk] = await kit.claim()
        booked, kept, late = await kit.intend(chunk, 3)
        # In full, for want of a budget; and at the bound.
        full, bounded = answered(booked, cost=BOUND + 5), answered(kept, cost=BOUND)
        full.unbooked_nusd, bounded.unbooked_nusd = 0, 70
        await kit.commit([full, bounded])
        await take_over(other, dead=kit.owner)
        came = answered(late, cost=BOUND)
        came.unbooked_nusd = 9
        await kit.commit([came])
        facts = (await kit.clean()).facts
        assert (facts["above_bound"], facts["unbooked_nusd"]) == (3, 79)
        assert facts["spent_nusd"] == 3 * BOUND + 5

    drive(story)


def test_a_lease_taken_again_is_not_the_former_one(drive: Drive) -> None:
    async def story(kit: Kit, other: Kit) -> None:
        await kit.job(10)
        [former] = await kit.claim()
        sent = await kit.intend(former, 3)
        await kit.conn.execute(b"update chunks set owner = null")
        assert await take_over(other, dead=0) == 3
        chunks = await kit.claim(room=100)
        [present] = [chunk for chunk in chunks if chunk.id == former.id]
        window = Window(present, 2)
        # The reply of the former lease stands in the same commit as the present one's window.
        await kit.commit([answered(sent[0], cost=400)], windows=[window])
        assert window.granted == 2
        assert (present.sent, present.open) == (2, 2)
        facts = (await kit.clean()).facts
        assert (facts["late"], facts["spent_nusd"]) == (1, 400 + 2 * BOUND)
        await kit.commit([answered(sent[1], cost=400)], back=[GiveBack(former, unsent=1)])
        await kit.commit([answered(one) for one in entries(present, range(2))])
        assert (await kit.clean()).facts["late"] == 2

    drive(story)


def test_what_was_not_sent_goes_back_with_its_money(drive: Drive) -> None:
    async def story(kit: Kit, _: Kit) -> None:
        await kit.job(10)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk, 6)
        await kit.commit([answered(sent[0])], back=[GiveBack(chunk, unsent=3, delay=9.0)])
        assert (chunk.sent, chunk.open, chunk.ended) == (3, 2, True)
        facts = (await kit.clean()).facts
        assert (facts["open"], facts["reserved_nusd"]) == (9, 2 * BOUND)
        rest = await kit.rows("select seqs, status from chunks where status = 'waiting'")
        assert rest == [([3, 4, 5, 6, 7, 8, 9], "waiting")]
        await kit.commit([answered(one) for one in sent[1:3]])
        assert await kit.value("select status from chunks where id = %(id)s", id=chunk.id) == "done"
        await kit.clean()

    drive(story)


@pytest.mark.parametrize("intended", [0, 4])
def test_a_chunk_given_back_whole_is_free_again(drive: Drive, intended: int) -> None:
    async def story(kit: Kit, _: Kit) -> None:
        await kit.job(10)
        [chunk] = await kit.claim()
        if intended:
            await kit.intend(chunk, intended)
        await kit.commit(back=[GiveBack(chunk, unsent=intended)])
        assert (await kit.clean()).facts["reserved_nusd"] == 0
        [same] = await kit.claim()
        assert (same.id, same.fence, same.sent) == (chunk.id, chunk.fence + 1, 0)

    drive(story)


def test_a_stopped_job_takes_no_more(drive: Drive) -> None:
    async def story(kit: Kit, _: Kit) -> None:
        job_id = await kit.job(20)
        first, second = await kit.claim(room=20)
        sent = await kit.intend(first, 3)
        await stop_job(kit.conn, job_id)
        windows = [Window(first, 2), Window(second, 2)]
        await kit.commit([again(sent[0]), answered(sent[1])], windows=windows)
        assert [(w.granted, w.stopped, w.short) for w in windows] == [(0, True, False)] * 2
        assert (
            await kit.value("select count(*) from chunks where status in ('ready', 'waiting')") == 0
        )
        report = await kit.commit(
            [answered(sent[2])], back=[GiveBack(first, drop=True), GiveBack(second)]
        )
        assert report.drained == [job_id]
        assert await end_job(kit.conn, job_id) == "cancelled"
        facts = (await kit.clean()).facts
        assert (facts["completed"], facts["cancelled"], facts["open"]) == (2, 18, 0)

    drive(story)


def test_a_paused_jobs_chunks_are_planned_again(drive: Drive) -> None:
    async def story(kit: Kit, _: Kit) -> None:
        job_id = await kit.job(20, limit=100 * BOUND)
        first, second = await kit.claim(room=20)
        sent = await kit.intend(first, 4)
        await set_paused(kit.conn, job_id, paused=True)
        windows = [Window(first, 2), Window(second, 2)]
        await kit.commit([again(sent[0]), answered(sent[1])], windows=windows)
        assert [(w.granted, w.stopped, w.paused, w.short) for w in windows] == [
            (0, False, True, False)
        ] * 2
        assert await kit.value("select stop from jobs") is None
        await kit.commit(back=[GiveBack(first, unsent=1, delay=9.0), GiveBack(second)])
        await kit.commit([answered(sent[2])])
        open_ = "select status, sum(size)::int from chunks where status <> 'done' group by 1"
        # The retry, the seven unsent of the first chunk, all of the second.
        assert await kit.rows(open_) == [("planned", 18)]
        await kit.clean()
        await set_paused(kit.conn, job_id, paused=False)
        await bind_fair(kit.conn, "small", room=100)
        await kit.run(job_id)
        assert (await kit.clean()).facts["completed"] == 20

    drive(story)


def test_a_dead_process_leaves_a_paused_jobs_work_planned(drive: Drive) -> None:
    async def story(kit: Kit, other: Kit) -> None:
        job_id = await kit.job(10)
        [chunk] = await kit.claim()
        await kit.intend(chunk, 3)
        await set_paused(kit.conn, job_id, paused=True)
        assert await take_over(other, dead=kit.owner) == 3
        open_ = "select status, sum(size)::int from chunks where status <> 'done' group by 1"
        assert await kit.rows(open_) == [("planned", 10)]
        await kit.clean()

    drive(story)


def test_rows_that_were_there_before_are_not_counted_again(drive: Drive) -> None:
    async def story(kit: Kit, _: Kit) -> None:
        await kit.job(10)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk, 4)
        await kit.commit([answered(sent[0])])
        twice, new = answered(sent[0]), answered(sent[1])
        chunk.open += 1
        report = await kit.commit([twice, new, again(sent[2])])
        assert report.moved
        assert (chunk.sent, chunk.open) == (4, 1)
        facts = (await kit.clean()).facts
        assert (facts["attempts"], facts["completed"]) == (3, 2)
        assert facts["spent_nusd"] == 2 * 700

    drive(story)


def test_a_second_result_of_a_request_is_refused(drive: Drive) -> None:
    async def story(kit: Kit, _: Kit) -> None:
        await kit.job(10)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk, 2)
        await kit.conn.execute(
            b"insert into results (part, job_id, seq, round, status, commit_id)"
            b" select part, job_id, seq, 1, 'failed', 0 from requests where seq = 0"
        )
        await kit.commit([answered(one) for one in sent])
        rows = await kit.rows("select seq, status from results order by seq")
        assert rows == [(0, "failed"), (1, "completed")]
        # The paid call stays visible, and the audit says that something is wrong.
        laws = {violation.law for violation in (await kit.audit()).violations}
        assert "call_after_result" in laws
        assert laws.isdisjoint({"account_drift", "settle_wrong", "cost_drift"})

    drive(story)


def test_nothing_changes_in_memory_unless_it_was_committed(drive: Drive) -> None:
    async def story(kit: Kit, other: Kit) -> None:
        await kit.job(10)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk, 2)
        await kit.conn.execute(b"set lock_timeout = '100ms'")
        batch = Batch([answered(sent[0])], [Window(chunk, 3)])
        commit_id = kit.next_commit_id()
        async with other.conn.transaction():
            await other.conn.execute(b"select from accounts for update")
            with pytest.raises(OperationalError):
                await commit(kit.conn, batch, commit_id=commit_id, owner=kit.owner)
        assert (chunk.sent, chunk.open) == (2, 2)
        assert not await was_committed(other.conn, commit_id)
        again_ = Kit(other.conn, kit.owner)
        await commit(again_.conn, batch, commit_id=commit_id, owner=kit.owner)
        assert await was_committed(other.conn, commit_id)
        assert (chunk.sent, chunk.open) == (5, 4)
        await other.clean()

    drive(story)


def test_reread_finds_what_an_unheard_commit_did(drive: Drive) -> None:
    async def story(kit: Kit, other: Kit) -> None:
        await kit.job(40, size=10, limit=8 * BOUND)
        one, two, three, lost = await kit.claim(room=40)
        sent = await kit.intend(one, 3)
        await kit.intend(three, 2)
        await kit.intend(lost, 1)
        await kit.conn.execute(b"update chunks set owner = null where id = %s", (lost.id,))
        await take_over(other, dead=0)
        batch = Batch(
            [answered(sent[0]), again(sent[1])],
            [Window(one, 2), Window(two, 5), Window(lost, 2)],
            [GiveBack(three, unsent=2)],
        )
        chunks = [one, two, three]
        before = [state(chunk) for chunk in chunks]
        commit_id = kit.next_commit_id()
        report = await commit(kit.conn, batch, commit_id=commit_id, owner=kit.owner)
        after = [state(chunk) for chunk in chunks]
        windows = [(w.granted, w.stopped, w.short) for w in batch.windows]
        assert windows == [(2, False, False), (3, False, True), (0, True, False)]
        for chunk, (sent_, open_, ended) in zip(chunks, before, strict=True):
            chunk.sent, chunk.open, chunk.ended = sent_, open_, ended
        found = await reread(kit.conn, batch)
        assert [state(chunk) for chunk in chunks] == after
        assert [(w.granted, w.stopped, w.short) for w in batch.windows] == windows
        assert found.stale == report.stale == {lost.id}

    drive(story)


def state(chunk: LeasedChunk) -> tuple[int, int, bool]:
    return chunk.sent, chunk.open, chunk.ended


def test_processes_on_the_same_accounts_never_block_each_other(database_url: str) -> None:
    """Limited and unlimited jobs of two projects, commits that touch several at once, sweeps in
    between: in any other order of locks Postgres would find a deadlock."""

    async def process(jobs: list[int]) -> int:
        async with await connect(database_url) as conn:
            kit = await Kit.open(conn)
            done = 0
            for _ in range(400):
                chunks = await kit.claim(room=30)
                if not chunks:
                    return done
                windows = [Window(chunk, 3) for chunk in reversed(chunks)]
                await kit.commit(windows=windows)
                sent = [one for w in windows for one in entries(w.chunk, range(w.granted))]
                back = [GiveBack(chunk) for chunk in chunks]
                await kit.commit([answered(one) for one in sent], back=back)
                done += len(sent)
            return done

    async def story() -> None:
        async with await connect(database_url) as conn:
            kit = await Kit.open(conn)
            jobs = []
            for project in ("default", "late", "default", "late"):
                for limit in (None, 10**9):
                    jobs.append(await kit.job(60, project=project, limit=limit, size=5))
            done = await asyncio.gather(*(process(jobs) for _ in range(6)))
            assert sum(done) == 60 * len(jobs)
            for job_id in jobs:
                assert await end_job(conn, job_id) == "completed"
            await kit.clean()

    asyncio.run(story())


def test_a_spent_budget_waits_for_nobody_who_holds_the_jobs_chunks(drive: Drive) -> None:
    async def story(kit: Kit, other: Kit) -> None:
        job_id = await kit.job(30, limit=BOUND)
        [chunk] = await kit.claim()
        await kit.commit([answered(one, cost=BOUND) for one in await kit.intend(chunk, 1)])
        async with other.conn.transaction():
            await other.conn.execute(
                b"select from chunks where status = 'ready' order by id limit 1 for update"
            )
            async with asyncio.timeout(20):
                assert await kit.intend(chunk, 1) == []
            assert await kit.value("select stop from jobs") == "budget_exhausted"
            rows = await kit.rows("select status, count(*) from chunks group by 1 order by 1")
            assert rows == [("done", 2), ("leased", 1), ("ready", 1)]
            async with asyncio.timeout(20):
                await drop_unsent(kit.conn)
                assert not await drop_unheld(kit.conn, job_id)
        await drop_unsent(kit.conn)
        await kit.commit(back=[GiveBack(chunk)])
        assert await end_job(kit.conn, job_id) == "budget_exhausted"
        await kit.clean()

    drive(story)
