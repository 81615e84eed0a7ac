from typing import Any

import pytest

from core.errors import NotFoundError
from db.jobs import job_view, list_jobs


def count(inn, job_id: int, deployment: str = "small", writer: int = 1, **values: Any) -> None:
    inn.put("job_counters", job_id=job_id, deployment=deployment, writer=writer, **values)


def worker(inn) -> None:
    inn.rows(
        "insert into processes (kind, host, pid, controls, lease_until) "
        "values ('worker', 'here', 1, true, now() + interval '1 minute')"
    )


def test_a_view_adds_up_what_every_process_counted(inn) -> None:
    job_id = inn.submit([*"abcde", b"{"], skip_bad_lines=True, budget_nusd=7)
    count(inn, job_id, attempts=3, errors=1, completed=2, cost_nusd=10, latency_ms=50)
    count(inn, job_id, writer=2, attempts=1, completed=1, cost_nusd=5, latency_ms=10)
    count(inn, job_id, "free", attempts=1, errors=1, failed=1, unpriced=1)
    view = inn.ask(job_view, job_id)
    assert (view.total, view.completed, view.failed, view.open) == (6, 3, 2, 1)
    assert view.counts == {"completed": 3, "failed": 2, "open": 1}
    shares = {share.deployment: share for share in view.shares}
    assert (shares["small"].attempts, shares["small"].cost_usd) == (4, "0.000000015")
    assert shares["small"].mean_latency_ms == 20
    assert shares["free"].cost_usd is None
    assert shares[""].failed == 1
    assert (view.cost_nusd, view.unpriced, view.cost_usd) == (15, 1, None)
    assert (view.limit_nusd, view.spent_nusd, view.reserved_nusd) == (7, 0, 0)
    assert view.rate > 0
    assert view.eta_seconds > 0
    assert view.chunks == {"route": 1}


def test_an_ended_jobs_rest_has_its_outcome(inn) -> None:
    job_id = inn.submit(["a", "b", "c"])
    count(inn, job_id, completed=1)
    inn.rows("update jobs set status = 'expired', stop = 'expired', ended_at = now()")
    view = inn.ask(job_view, job_id)
    assert view.counts == {"completed": 1, "failed": 0, "expired": 2}
    assert view.open == 0
    assert view.eta_seconds is None
    assert view.why == ""


def test_it_says_why_it_waits(inn) -> None:
    job_id = inn.submit(["a", "b", "c"])
    view = inn.ask(job_view, job_id)
    assert "no worker is alive" in view.why
    assert "3 requests wait to be routed" in view.why
    worker(inn)
    chunk = (
        "insert into chunks (job_id, part, size, seqs, tries, calls, tokens, bounds, status, "
        "deployment, not_before, reason) values (%s, 1, 1, '{0}', '{0}', '{0}', '{0}', '{0}', "
        "%s, %s, now() + %s * interval '1 second', %s)"
    )
    inn.rows("update chunks set status = 'done'")
    inn.rows(chunk, job_id, "waiting", "small", 30, "overloaded")
    inn.rows(chunk, job_id, "planned", "free", 0, "")
    why = inn.ask(job_view, job_id).why
    assert "room at free" not in why, "dispatch has hardly had the time"
    inn.rows("update chunks set not_before = now() - interval '5 s' where status = 'planned'")
    why = inn.ask(job_view, job_id).why
    assert "1 request waits for another try at small" in why
    assert "(its provider is overloaded)" in why
    assert "1 request waits for room at free" in why
    inn.rows(
        "insert into deployment_state (deployment, status, reason, until) "
        "values ('free', 'cooling', 'five errors', now() + interval '1 minute')"
    )
    why = inn.ask(job_view, job_id).why
    assert "deployment free is cooling (five errors), back in 60 s" in why
    assert "room at free" not in why


def test_a_job_that_sends_nothing_has_no_time_of_arrival(inn) -> None:
    job_id = inn.submit(["a", "b", "c"])
    count(inn, job_id, completed=1)
    assert inn.ask(job_view, job_id).eta_seconds > 0
    inn.rows("update jobs set status = 'cancelling', stop = 'cancelled'")
    view = inn.ask(job_view, job_id)
    assert view.eta_seconds is None
    assert "chunk" not in view.why


def test_the_odd_retry_of_a_busy_job_is_not_told(inn) -> None:
    job_id = inn.submit(["a", "b", "c"])
    worker(inn)
    inn.rows("update chunks set kind = 'call', status = 'leased', deployment = 'small'")
    chunk = {"size": 1, "seqs": [1], "tries": [1], "calls": [1], "tokens": [5], "bounds": [9]}
    key = {"part": inn.part(job_id), "job_id": job_id, "deployment": "small"}
    inn.put("chunks", **key, **chunk, status="waiting", reason="unknown", not_before="infinity")
    inn.rows("update chunks set not_before = now() + interval '1 s' where status = 'waiting'")
    assert inn.ask(job_view, job_id).why == ""
    inn.rows("update chunks set not_before = now() + interval '30 s' where status = 'waiting'")
    assert "(a call was sent and got no answer)" in inn.ask(job_view, job_id).why


def test_lists_are_pages_of_one_project(inn) -> None:
    jobs = [inn.submit(["a"], name=f"n{n}") for n in range(3)]
    other = inn.submit(["a"], project="other")
    count(inn, jobs[0], completed=1, cost_nusd=3)
    inn.rows("update jobs set ended_at = now() where id = %s", jobs[0])
    page = inn.ask(list_jobs, limit=2)
    assert [line.id for line in page] == [jobs[2], jobs[1]]
    [last] = inn.ask(list_jobs, before=jobs[1])
    assert (last.name, last.completed, last.cost_usd) == ("n0", 1, "0.000000003")
    assert [line.id for line in inn.ask(list_jobs, active=True)] == [jobs[2], jobs[1]]
    with pytest.raises(NotFoundError):
        inn.ask(job_view, other)
