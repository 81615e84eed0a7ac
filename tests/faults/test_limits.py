"""A project at limits of its own on a running yard: others have their speed, it has its own, and a
user's hand on it is felt at once."""

from collections.abc import Iterator
from typing import Any

import pytest

from tasks.lifecycle import cancel
from tests.faults.rig import CONFIG, Rig, check_whole, running_yard, wait_until

pytestmark = pytest.mark.timeout(300)

SLOW, QUICK = 3_000, 4_000
PROJECTS: dict[str, Any] = {"slow": {"limits": {"rpm": 60}}, "quick": {}}
UNSENT = """
select count(*) from chunks where job_id = %(job)s and kind = 'call' and (
  status in ('ready', 'waiting') or (status = 'leased' and sent < size))
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    config = {**CONFIG, "projects": PROJECTS}
    with running_yard(tmp_path_factory.mktemp("limits"), config=config) as rig:
        yield rig


def test_a_project_at_its_limits_leaves_others_theirs(shared: Rig) -> None:
    slow = shared.submit(SLOW, project="slow")
    shared.wait_results(slow, 5)
    quick = shared.submit(QUICK, project="quick")
    assert shared.wait_end(quick) == "completed"
    check_whole(shared, quick, QUICK)
    # It had its minute's share meanwhile, and no more of it is bound than half a minute's.
    assert shared.results(slow) < SLOW // 10
    shared.hand(cancel, slow)
    wait_until(lambda: shared.one(UNSENT, job=slow) == 0, "the slow job to hold nothing")
    assert shared.wait_end(slow) == "cancelled"
    assert shared.audit(slow).violations == ()
    assert shared.calls(slow).attempts == {"ok": shared.results(slow)}
