"""The broker is only a bell: what it loses or doubles costs time and nothing else."""

import pytest

from tasks.lifecycle import cancel
from tests.faults.rig import Rig, check_whole

pytestmark = pytest.mark.timeout(300)

TOTAL = 1000


def test_a_broker_that_forgets_everything(yard: Rig) -> None:
    job = yard.submit(TOTAL)
    yard.wait_results(job, TOTAL // 4)
    yard.broker().flushall()
    assert yard.wait_end(job) == "completed"
    check_whole(yard, job, TOTAL)


def test_a_lost_ticket_of_the_routing_is_found_by_the_sweep(yard: Rig) -> None:
    with yard.mute():
        job = yard.submit(TOTAL)
    assert yard.one("select count(*) from chunks where job_id = %(job)s", job=job) == 1
    assert yard.wait_end(job) == "completed"
    check_whole(yard, job, TOTAL)


def test_tickets_that_come_twice_find_nothing_to_do(yard: Rig) -> None:
    job = yard.submit(TOTAL)
    yard.wait_results(job, TOTAL // 4)
    tickets = [row[0] for row in yard.sql("select id from lanes")]
    for ticket in [*tickets, *tickets, 10**9]:
        yard.ring("call", "sim", ticket, queue="provider.sim")
    for _ in range(5):
        yard.ring("route", job, queue="route")
        yard.ring("finish", job, queue="ops")
        yard.ring("sweep", queue="ops")
    assert yard.wait_end(job) == "completed"
    calls = check_whole(yard, job, TOTAL)
    assert calls is not None
    assert calls.attempts == {"ok": TOTAL}


def test_a_cancelled_job_keeps_what_it_paid_for(yard: Rig) -> None:
    job = yard.submit(4 * TOTAL)
    yard.wait_results(job, TOTAL // 4)
    yard.hand(cancel, job)
    assert yard.wait_end(job) == "cancelled"
    kept = yard.results(job)
    assert TOTAL // 4 <= kept < 4 * TOTAL
    spent, reserved, _ = yard.account(job)
    assert spent > 0
    assert reserved == 0
    assert yard.audit(job).violations == ()
    calls = yard.calls(job)
    assert calls.problems == ()
    assert calls.attempts == {"ok": kept}
