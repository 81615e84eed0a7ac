import asyncio

import pytest

from core.errors import ConflictError, NotFoundError
from core.ids import job_number
from core.status import JobStatus
from db.finish import end_job
from db.jobs import job_view
from tasks.context import Context
from tasks.dispatch import dispatch
from tasks.lifecycle import cancel, delete, pause, resume
from tasks.route import route


def end(inn, job_id: int) -> None:
    async def work(ctx: Context) -> None:
        async with ctx.pool.connection() as conn:
            await end_job(conn, job_id)

    inn.run(work)


def test_ids_are_read_in_both_shapes() -> None:
    assert job_number("12") == job_number("job_12") == job_number(12) == 12
    for text in ("", "job_", "x", "-1", "1.5", "job_1x", "9" * 40, "٣"):
        with pytest.raises(NotFoundError):
            job_number(text)


def test_a_cancel_closes_what_nobody_holds_and_rings_for_the_end(inn) -> None:
    job_id = inn.submit(f"{n}" for n in range(2500))
    inn.bell.rung.clear()
    assert inn.run(lambda ctx: cancel(ctx, 1, job_id)) == JobStatus.CANCELLING
    assert inn.rows("select distinct status from chunks") == [("done",)]
    assert inn.rows("select status, stop from jobs") == [("cancelling", "cancelled")]
    assert inn.bell.rung == [("finish", (job_id,))]
    end(inn, job_id)
    assert inn.run(lambda ctx: cancel(ctx, 1, job_id)) == JobStatus.CANCELLED
    assert inn.bell.rung == [("finish", (job_id,))]


def test_chunks_in_flight_are_left_to_their_lane(inn) -> None:
    job_id = inn.submit(f"{n}" for n in range(2500))
    inn.rows("update chunks set status = 'leased', owner = 7 where size = 500")
    inn.bell.rung.clear()
    inn.run(lambda ctx: cancel(ctx, 1, job_id))
    assert inn.rows("select status from chunks order by id") == [("done",), ("leased",)]
    assert inn.bell.rung == []
    assert inn.run(lambda ctx: cancel(ctx, 1, job_id)) == JobStatus.CANCELLING


def test_a_cancel_frees_what_is_bound_before_it_waits_for_route_steps(inn) -> None:
    job_id = inn.submit(f"{n}" for n in range(2500))
    bound = "select count(*) from chunks where status = 'ready' and kind = 'call'"
    inn.rows(
        "update chunks set kind = 'call', status = 'ready', deployment = 'small' where size = 500"
    )

    async def both(ctx: Context) -> None:
        async with ctx.pool.connection() as conn:
            async with conn.transaction():
                await conn.execute("select 1 from chunks where kind = 'route' for update")
                cancelling = asyncio.create_task(cancel(ctx, 1, job_id))
                async with asyncio.timeout(20):
                    while await (await conn.execute(bound.encode())).fetchone() != (0,):
                        await asyncio.sleep(0.05)
                assert not cancelling.done()
            await cancelling

    inn.run(both)
    assert inn.rows("select distinct status from chunks") == [("done",)]


def test_what_a_route_step_plans_meanwhile_is_closed_too(inn) -> None:
    job_id = inn.submit(["a"])

    async def both(ctx: Context) -> None:
        async with ctx.pool.connection() as conn:
            async with conn.transaction():
                await conn.execute("select 1 from chunks for update")
                cancelling = asyncio.create_task(cancel(ctx, 1, job_id))
                await asyncio.sleep(0.3)
                await conn.execute(
                    "insert into chunks (job_id, part, size, seqs, tries, calls, tokens, bounds, "
                    "status) select job_id, part, size, seqs, tries, calls, tokens, bounds, "
                    "'planned' from chunks"
                )
                await conn.execute("update chunks set status = 'done' where kind = 'route'")
            await cancelling

    inn.run(both)
    assert inn.rows("select status from chunks") == [("done",)] * 2


def test_what_has_ended_cannot_be_cancelled_nor_a_running_job_deleted(inn) -> None:
    job_id = inn.submit(["a"])
    with pytest.raises(ConflictError, match="Cancel it first"):
        inn.run(lambda ctx: delete(ctx, 1, job_id))
    inn.rows("update chunks set status = 'done'")
    end(inn, job_id)
    with pytest.raises(ConflictError, match="ended already"):
        inn.run(lambda ctx: cancel(ctx, 1, job_id))


@pytest.mark.parametrize("step", [pause, resume, cancel, delete])
def test_other_projects_jobs_are_not_there(inn, step) -> None:
    inn.submit(["a"])
    other = inn.submit(["a"], project="other")
    with pytest.raises(NotFoundError):
        inn.run(lambda ctx: step(ctx, 1, other))


@pytest.mark.parametrize("own_part", [False, True])
def test_a_delete_takes_the_job_and_leaves_the_projects_money(
    inn, own_part: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inn.submit(["kept"])
    monkeypatch.setattr("db.parts.LARGE_JOB", 0 if own_part else 10)
    job_id = inn.submit(["a", b"{"], skip_bad_lines=True, budget_nusd=10**9)
    part = inn.part(job_id)
    [(account, project)] = inn.rows(
        "select account_id, project_account_id from jobs where id = %s", job_id
    )
    for account_id in (account, project):
        inn.put("ledger", commit_id=1, account_id=account_id, kind="settle", amount_nusd=5)
    inn.rows("update accounts set spent_nusd = 5 where id in (%s, %s)", account, project)
    inn.rows("update chunks set status = 'done'")
    end(inn, job_id)
    inn.run(lambda ctx: delete(ctx, 1, job_id))
    for table in ("requests", "results", "chunks", "job_events", "job_counters"):
        assert inn.rows(f"select 1 from {table} where job_id = %s", job_id) == []
    assert inn.rows("select account_id, amount_nusd from ledger") == [(project, 5)]
    assert inn.rows("select kind, spent_nusd from accounts where spent_nusd > 0") == [
        ("project", 5)
    ]
    assert inn.rows("select custom_id from requests") == [("request-1",)]
    kept = inn.rows("select 1 from pg_class where relname = %s", f"requests_p{part}")
    assert kept == ([] if own_part else [(1,)])
    assert inn.rows("select 1 from parts where id = %s", part) == kept


@pytest.mark.parametrize("patience", [0.5, 60.0])
def test_a_delete_that_waits_for_an_export_keeps_no_writer_waiting(
    inn, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr("db.parts.LARGE_JOB", 0)
    monkeypatch.setattr("db.parts.DROP_PATIENCE", patience)
    job_id = inn.submit(["a"])
    inn.rows("update chunks set status = 'done'")
    end(inn, job_id)

    async def all_three(ctx: Context) -> None:
        async with ctx.pool.connection() as reader, ctx.pool.connection() as writer:
            async with reader.transaction():
                await reader.execute("select count(*) from attempts")
                deleting = asyncio.create_task(delete(ctx, 1, job_id))
                for _ in range(20):
                    await asyncio.sleep(0.1)
                    async with asyncio.timeout(5):
                        await writer.execute("update attempts set status = 'late' where n = 0")
                if patience < 1:
                    with pytest.raises(ConflictError, match="being read just now"):
                        await deleting
                    return
                assert not deleting.done()
            await deleting

    inn.run(all_three)
    assert inn.rows("select count(*) from jobs") == [(int(patience < 1),)]


def test_a_pause_plans_again_what_is_bound_and_a_resume_lets_it_go_on(inn) -> None:
    job_id = inn.submit(f"{n}" for n in range(450))
    inn.run(lambda ctx: route(ctx, job_id))
    inn.run(dispatch)
    inn.run(lambda ctx: pause(ctx, 1, job_id))
    states = "select distinct status, turn from chunks where kind = 'call'"
    assert inn.rows(states) == [("planned", 0)]
    inn.run(dispatch)
    assert inn.rows(states) == [("planned", 0)]
    view = inn.ask(job_view, job_id)
    assert (view.status, view.paused) == ("in_progress", True)
    assert "batchyard resume" in view.why
    inn.run(lambda ctx: resume(ctx, 1, job_id))
    inn.run(dispatch)
    assert "ready" in {row[0] for row in inn.rows(states)}
    events = inn.rows("select kind from job_events order by id")
    assert events == [("submitted",), ("paused",), ("resumed",)]


def test_a_second_pause_changes_nothing_and_what_ends_cannot_be_paused(inn) -> None:
    job_id = inn.submit(["a"])
    inn.run(lambda ctx: resume(ctx, 1, job_id))
    for _ in range(2):
        inn.run(lambda ctx: pause(ctx, 1, job_id))
    assert inn.rows("select count(*) from job_events where kind = 'paused'") == [(1,)]
    inn.rows("update chunks set status = 'leased', owner = 7")
    inn.run(lambda ctx: cancel(ctx, 1, job_id))
    for step in (pause, resume):
        with pytest.raises(ConflictError, match="is cancelling"):
            inn.run(lambda ctx, step=step: step(ctx, 1, job_id))
