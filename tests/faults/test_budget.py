import asyncio

import pytest

from tests.faults.budget import liar, play, spender
from tests.faults.rig import Rig


@pytest.mark.timeout(300)
def test_a_small_budget_is_used_up_and_never_overshot(database_url: str) -> None:
    for played in asyncio.run(play(database_url, 4, spender())):
        assert played.status == "budget_exhausted"
        assert played.overshoot == 0
        assert played.use >= 0.95
        assert played.reserved == 0
        assert played.results > 0


@pytest.mark.timeout(300)
def test_no_bill_however_absurd_passes_a_budget(database_url: str) -> None:
    for played in asyncio.run(play(database_url, 4, liar())):
        assert played.status == "budget_exhausted"
        assert played.overshoot == 0
        assert played.reserved == 0
        assert played.results >= 200


@pytest.mark.timeout(300)
def test_a_job_in_a_yard_ends_when_its_money_is_gone(yard: Rig) -> None:
    yard.simulate(latency={"ms": 20})
    bound = yard.largest_bound()
    job = yard.submit(2000, budget_nusd=200 * bound)
    assert yard.wait_end(job) == "budget_exhausted"
    spent, reserved, limit = yard.account(job)
    assert reserved == 0
    assert 0.95 * limit <= spent <= limit
    assert 0 < yard.results(job) < 2000
    assert yard.audit(job).violations == ()
    assert yard.calls(job).problems == ()


@pytest.mark.timeout(300)
def test_absurd_usage_is_booked_at_its_bound_and_told(yard: Rig) -> None:
    yard.simulate(latency={"ms": 20}, faults={"p_overstated": 0.3})
    job = yard.submit(500, budget_nusd=500 * yard.largest_bound())
    assert yard.wait_end(job) == "completed"
    lied = yard.stats()["faults"]["overstated"]
    spent, reserved, limit = yard.account(job)
    report = yard.audit(job)
    assert report.violations == ()
    assert (report.facts["above_bound"], reserved) == (lied, 0)
    assert report.facts["unbooked_nusd"] > 0
    assert spent <= limit
    # What nobody can have used is in no sum of tokens, and each such call says why.
    most = yard.one("select max(output_tokens) from attempts where job_id = %(job)s", job=job)
    noted = yard.one(
        "select count(*) from attempts where job_id = %(job)s and output_tokens is null"
        " and error like '%%more than this call can have used%%'",
        job=job,
    )
    assert (most <= 16, noted) == (True, lied)
