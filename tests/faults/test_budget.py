import asyncio

import pytest

from tests.faults.budget import play
from tests.faults.rig import Rig


@pytest.mark.timeout(300)
def test_a_small_budget_is_used_up_and_never_overshot(database_url: str) -> None:
    for played in asyncio.run(play(database_url, rounds=4)):
        assert played.status == "budget_exhausted"
        assert played.overshoot == 0
        assert played.use >= 0.95
        assert played.reserved == 0
        assert played.results > 0


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
