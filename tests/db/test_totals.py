"""The yard in numbers: told once, whichever workers there are."""

from typing import Any

from db.processes import end, register
from db.totals import totals
from tests.conftest import Inn


def test_one_living_control_worker_tells_and_another_when_it_is_gone(inn: Inn) -> None:
    async def story(ctx: Any) -> list[bool]:
        async with ctx.pool.connection() as conn:
            caller = await register(conn, kind="call", host="a", pid=1, lease=60)
            dead = await register(conn, kind="control", host="a", pid=2, lease=-1, controls=True)
            first = await register(conn, kind="control", host="a", pid=3, lease=60, controls=True)
            other = await register(conn, kind="control", host="b", pid=3, lease=60, controls=True)
            told = [await totals(conn, one) for one in (caller, dead, first, other)]
            await end(conn, first)
            told.append(await totals(conn, other))
            return [one is not None for one in told]

    assert inn.run(story) == [False, False, True, False, True]


def test_it_knows_jobs_and_money(inn: Inn) -> None:
    job_id = inn.submit(["a", "b"], budget_nusd=10**9)
    inn.rows("update accounts set spent_nusd = 5, reserved_nusd = 7")
    inn.put("job_counters", job_id=job_id, deployment="small", writer=1, unknown=2, unpriced=3)

    async def look(ctx: Any) -> Any:
        async with ctx.pool.connection() as conn:
            me = await register(conn, kind="control", host="a", pid=1, lease=60, controls=True)
            return await totals(conn, me)

    told = inn.run(look)
    assert told.jobs == {"in_progress": 1}
    # The job's account holds the same money again: only the projects' counts.
    assert (told.spent_nusd, told.reserved_nusd) == (5, 7)
    assert (told.unknown, told.unpriced) == (2, 3)
    assert told.overview.unrouted == 2
