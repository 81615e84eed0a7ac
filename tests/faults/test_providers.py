"""Providers that die, throttle for ever, lose their quota, or hang, and are the only ones:
nobody's rows fail for it, and everybody is told why they wait."""

from collections.abc import Iterator

import pytest

from core.status import Cause
from db.jobs import job_view
from tests.faults.providers import ALWAYS, heal, open_again, providers_yard, wait_standing
from tests.faults.rig import Rig, wait_until

pytestmark = pytest.mark.timeout(300)

TOTAL = 600


@pytest.fixture(scope="module")
def one_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with providers_yard(tmp_path_factory.mktemp("providers")) as rig:
        yield rig


@pytest.fixture
def rig(one_rig: Rig) -> Rig:
    heal(one_rig)
    return one_rig


def why(rig: Rig, job: int) -> str:
    """What the job is said to wait for."""
    return rig.ask(lambda conn: job_view(conn, 1, job)).why


def wait_told(rig: Rig, job: int, words: str) -> None:
    wait_until(lambda: words in why(rig, job), words, tell=lambda: why(rig, job))


def check(rig: Rig, job: int, total: int) -> dict[str, int]:
    """Every request has a completed result, and the books are right; results by deployment."""
    assert rig.wait_end(job) == "completed"
    rows = rig.sql(
        "select deployment, status, count(distinct seq) from results where job_id = %(job)s"
        " group by 1, 2",
        job=job,
    )
    assert {status for _, status, _ in rows} == {"completed"}
    assert sum(count for _, _, count in rows) == total
    assert rig.audit(job).violations == ()
    return {name: count for name, _, count in rows}


def classes(rig: Rig, job: int) -> dict[str, int]:
    return dict(
        rig.sql(
            "select error_class, count(*) from attempts where job_id = %(job)s"
            " and error_class is not null group by 1",
            job=job,
        )
    )


FAULTS = {
    "dies": ({"faults": {"outages": [ALWAYS]}}, "overloaded", Cause.FAILURES),
    "resets": ({"faults": {"outages": [{**ALWAYS, "kind": "reset"}]}}, "unknown", Cause.FAILURES),
    "hangs": ({"faults": {"outages": [{**ALWAYS, "kind": "hang"}]}}, "unknown", Cause.FAILURES),
    "throttles": ({"faults": {"p_429": 1, "retry_after_ms": 500}}, "throttled", Cause.THROTTLED),
    "is out of quota": ({"insufficient_quota": True}, "quota_dead", Cause.QUOTA),
}


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "resets"])
def test_where_there_is_no_other_the_work_waits_for_one_that(rig: Rig, fault: str) -> None:
    patch, leaf, cause = FAULTS[fault]
    job = rig.submit(TOTAL, route="alone")
    rig.wait_results(job, TOTAL // 4)
    rig.simulate("shaky", **patch)
    closed = wait_standing(rig, "shaky", "cooling")
    assert closed.cause is cause
    wait_told(rig, job, "deployment shaky is cooling")
    assert closed.reason in why(rig, job)
    rig.simulate("shaky", faults={"outages": None, "p_429": 0}, insufficient_quota=False)
    if cause is Cause.QUOTA:
        # Nobody waits ten minutes here; an operator who has paid would not, either.
        open_again(rig, "shaky")
    assert check(rig, job, TOTAL) == {"shaky": TOTAL}
    assert leaf in classes(rig, job)
