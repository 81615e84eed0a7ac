"""Dispatch on real jobs: what is bound, and how many tickets go out."""

from typing import Any

from core.status import Cause
from db.health import park
from tasks.dispatch import dispatch
from tasks.route import route


def routed(inn: Any, requests: int) -> int:
    job_id: int = inn.submit([{"prompt": f"question {n}"} for n in range(requests)])
    while not inn.run(lambda ctx: route(ctx, job_id)).startswith("0 "):
        pass
    return job_id


def bound(inn: Any) -> dict[int, int]:
    return dict(
        inn.rows(
            "select job_id, sum(size)::int from chunks"
            " where kind = 'call' and status = 'ready' group by job_id"
        )
    )


def tickets(inn: Any) -> int:
    return sum(step == "call" for step, _ in inn.bell.rung)


def test_no_more_is_bound_than_the_horizon_and_every_job_gets_its_turn(inn: Any) -> None:
    large, small = routed(inn, 3000), routed(inn, 10)
    inn.run(dispatch)
    found = bound(inn)
    assert found[small] == 10
    assert 0 < found[large] <= 600


def test_one_ticket_for_each_200_due_requests_and_not_one_more(inn: Any) -> None:
    routed(inn, 390)
    inn.run(dispatch)
    assert tickets(inn) == 2
    inn.run(dispatch)
    assert tickets(inn) == 2
    assert inn.rows("select count(*) from lanes") == [(2,)]


def test_a_ticket_that_nobody_started_is_issued_again_after_a_lease(inn: Any) -> None:
    routed(inn, 10)
    inn.run(dispatch)
    inn.rows("update lanes set issued_at = now() - interval '1 hour'")
    inn.run(dispatch)
    assert tickets(inn) == 2
    assert inn.rows("select count(*) from lanes") == [(1,)]


def test_the_lane_of_a_dead_process_does_not_count(inn: Any) -> None:
    routed(inn, 10)
    inn.run(dispatch)
    inn.rows("update lanes set status = 'running', process_id = 4711")
    inn.run(dispatch)
    assert tickets(inn) == 2


def test_a_closed_deployment_gets_neither_work_nor_tickets_until_it_opens(inn: Any) -> None:
    async def cool(ctx: Any) -> None:
        async with ctx.pool.connection() as conn:
            await park(conn, ["small"], cause=Cause.LIMITS, reason="429", seconds=60.0)

    inn.run(cool)
    routed(inn, 10)
    inn.run(dispatch)
    assert bound(inn) == {}
    assert tickets(inn) == 0
    inn.rows("update deployment_state set until = now()")
    inn.run(dispatch)
    assert tickets(inn) == 1
    assert inn.rows("select status from deployment_state") == [("open",)]


def test_one_that_is_being_tried_gets_a_single_chunk(inn: Any) -> None:
    inn.put("deployment_state", deployment="small", status="probing", cause="failures")
    job = routed(inn, 1000)
    for _ in range(3):
        inn.run(dispatch)
    assert bound(inn) == {job: 200}
    inn.rows("delete from deployment_state")
    inn.run(dispatch)
    assert bound(inn)[job] > 200


def test_with_nothing_to_do_it_says_so(inn: Any) -> None:
    assert inn.run(dispatch) == "nothing to do"
