"""A user's hand on a running job: what is not sent comes back, others go on, nothing is lost."""

import json
from collections import Counter

import pytest

from db.connect import Connection
from db.results import stream_results
from tasks.lifecycle import cancel, pause, resume
from tests.faults.rig import Rig, check_whole, wait_until

pytestmark = pytest.mark.timeout(300)

TOTAL = 1500
UNSENT = """
select count(*) from chunks where job_id = %(job)s and kind = 'call' and (
  status in ('ready', 'waiting') or (status = 'leased' and sent < size))
"""
FLYING = "select count(*) from chunks where job_id = %(job)s and status = 'leased'"
CALLED = "select count(*) from attempts where job_id = %(job)s"


async def exported(conn: Connection, job: int) -> bytes:
    """The job's output lines."""
    return b"".join([block async for block in stream_results(conn, 1, job)])


def wait_free(rig: Rig, job: int) -> None:
    """Until nothing of the job is bound, nor held without being sent."""
    wait_until(lambda: rig.one(UNSENT, job=job) == 0, f"job_{job} to hold nothing")


def test_a_paused_job_makes_way_and_goes_on_where_it_was(yard: Rig) -> None:
    # Few calls at a time, and each takes long: most of what lanes hold waits for its permit.
    yard.simulate(latency={"ms": 1500})
    job = yard.submit(TOTAL)
    yard.wait_results(job, 50)
    yard.hand(pause, job)
    wait_free(yard, job)
    wait_until(lambda: yard.one(FLYING, job=job) == 0, "the end of the calls in flight")
    yard.simulate(latency={"ms": 50})
    called = yard.one(CALLED, job=job)
    other = yard.submit(200)
    assert yard.wait_end(other) == "completed"
    assert yard.one(CALLED, job=job) == called
    assert called < TOTAL
    yard.hand(resume, job)
    assert yard.wait_end(job) == "completed"
    calls = check_whole(yard, job, TOTAL)
    assert calls is not None
    assert calls.attempts == {"ok": TOTAL}


def test_a_cancelled_job_gives_back_what_its_lanes_hold(yard: Rig) -> None:
    yard.simulate(latency={"ms": 1500})
    job = yard.submit(TOTAL)
    yard.wait_results(job, 50)
    yard.hand(cancel, job)
    assert yard.wait_end(job) == "cancelled"
    kept = yard.results(job)
    # What had no permit yet was not sent.
    assert kept < TOTAL // 2
    assert yard.audit(job).violations == ()
    assert yard.calls(job).attempts == {"ok": kept}


def test_what_is_not_sent_by_the_deadline_expires_and_its_lines_say_so(yard: Rig) -> None:
    yard.simulate(latency={"ms": 1500})
    job = yard.submit(TOTAL)
    yard.wait_results(job, 50)
    yard.sql("update jobs set deadline = now() where id = %(job)s returning id", job=job)
    assert yard.wait_end(job) == "expired"
    lines = [json.loads(line) for line in yard.ask(lambda conn: exported(conn, job)).splitlines()]
    told = Counter(line["batchyard"]["status"] for line in lines)
    assert told == {"completed": yard.results(job), "expired": TOTAL - yard.results(job)}
    codes = {line["error"]["code"] for line in lines if line["error"]}
    assert codes == {"batch_expired"}
    assert yard.audit(job).violations == ()


def test_a_paused_job_can_be_cancelled(yard: Rig) -> None:
    job = yard.submit(TOTAL)
    yard.wait_results(job, 50)
    yard.hand(pause, job)
    yard.hand(cancel, job)
    assert yard.wait_end(job) == "cancelled"
    assert yard.audit(job).violations == ()
