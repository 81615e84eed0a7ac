"""kill -9 of everything that a job stands on, while it runs."""

import os
import signal
import time

import pytest

from tests.faults.rig import IN_FLIGHT, LANES, LEASE, WINDOW, Rig, check_whole

pytestmark = pytest.mark.timeout(300)

TOTAL = int(os.environ.get("BATCHYARD_TEST_FAULTS", "1000"))
IN_DOUBT = IN_FLIGHT + LANES * WINDOW


def in_the_middle(yard: Rig) -> int:
    """A job that has come a quarter of its way."""
    job = yard.submit(TOTAL)
    yard.wait_results(job, TOTAL // 4)
    return job


def test_ten_percent_throttled_and_two_percent_reset(yard: Rig) -> None:
    yard.simulate(faults={"p_429": 0.1, "p_reset": 0.02, "retry_after_ms": 20})
    job = yard.submit(2 * TOTAL)
    assert yard.wait_end(job) == "completed"
    calls = check_whole(yard, job, 2 * TOTAL)
    assert calls is not None
    assert calls.unseen == 0
    assert calls.attempts["error"] > 0
    assert calls.attempts["unknown"] > 0


@pytest.mark.parametrize(
    "victims",
    [
        ("worker-call-1",),
        ("worker-call-1", "worker-call-2"),
        ("worker-control",),
        ("beat",),
        ("valkey",),
        ("postgres",),
    ],
    ids=" and ".join,
)
def test_a_job_outlives_the_death_of(yard: Rig, victims: tuple[str, ...]) -> None:
    job = in_the_middle(yard)
    yard.kill(*victims)
    assert yard.wait_end(job) == "completed"
    calls = check_whole(yard, job, TOTAL)
    assert calls is not None
    assert calls.attempts["unknown"] + calls.attempts["late"] <= IN_DOUBT
    yard.wait_ready(*victims)


def test_a_job_outlives_the_whole_yard(yard: Rig) -> None:
    job = in_the_middle(yard)
    yard.kill("supervisor")
    yard.wait_gone()
    yard.up()
    assert yard.wait_end(job) == "completed"
    # The simulator's memory has died as well.
    check_whole(yard, job, TOTAL, simulated=False)


def test_a_worker_that_is_asked_to_stop_leaves_nothing_in_doubt(yard: Rig) -> None:
    job = in_the_middle(yard)
    yard.send(signal.SIGTERM, "worker-call-1")
    assert yard.wait_end(job) == "completed"
    calls = check_whole(yard, job, TOTAL)
    assert calls is not None
    assert calls.attempts["unknown"] == 0
    assert calls.unseen == 0
    yard.wait_ready("worker-call-1")


def test_a_frozen_worker_comes_too_late(yard: Rig) -> None:
    yard.simulate(latency={"ms": 400})
    job = in_the_middle(yard)
    busy = yard.busy_worker()
    yard.send(signal.SIGSTOP, busy)
    try:
        time.sleep(2.5 * LEASE)
    finally:
        yard.send(signal.SIGCONT, busy)
    assert yard.wait_end(job) == "completed"
    yard.wait_late(job)
    calls = check_whole(yard, job, TOTAL)
    assert calls is not None
    assert calls.attempts["unknown"] + calls.attempts["late"] <= IN_DOUBT


def test_a_job_outlives_connections_that_break_all_the_time(yard: Rig) -> None:
    job = yard.submit(TOTAL)
    yard.break_connections_until(lambda: yard.results(job) >= TOTAL // 2)
    assert yard.wait_end(job) == "completed"
    calls = check_whole(yard, job, TOTAL)
    assert calls is not None
    assert calls.attempts["unknown"] == 0
    yard.wait_idle()
