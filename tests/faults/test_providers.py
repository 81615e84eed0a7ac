"""Providers that die, throttle for ever, lose a key or their quota, or hang: alone, and beside
one that works. Nobody's rows fail for it, and everybody is told why they wait."""

from collections.abc import Iterator

import pytest

from core.plan import REFUSED, USUAL
from core.status import Cause
from db.jobs import job_view
from db.stories import job_story
from tests.faults.providers import ALWAYS, KEYS, heal, open_again, providers_yard, wait_standing
from tests.faults.rig import Rig, wait_until

pytestmark = pytest.mark.timeout(300)

TOTAL = 400
# So many that probes of a long outage always find requests that were not tried yet.
MANY = 4_000


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
    "hangs": ({"faults": {"outages": [{**ALWAYS, "kind": "hang"}]}}, "unknown", Cause.FAILURES),
    "throttles": ({"faults": {"p_429": 1, "retry_after_ms": 500}}, "throttled", Cause.THROTTLED),
    "is out of quota": ({"insufficient_quota": True}, "quota_dead", Cause.QUOTA),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_others_do_the_work_of_one_that(rig: Rig, fault: str) -> None:
    patch, leaf, cause = FAULTS[fault]
    first = rig.submit(TOTAL)
    rig.wait_results(first, TOTAL // 4)
    rig.simulate("shaky", **patch)
    second = rig.submit(TOTAL)
    closed = wait_standing(rig, "shaky", "cooling")
    assert closed.cause is cause
    check(rig, first, TOTAL)
    done = check(rig, second, TOTAL)
    assert done["steady"] > TOTAL // 2
    assert leaf in {**classes(rig, first), **classes(rig, second)}


def test_what_is_refused_goes_through_the_routes_list_for_it_in_its_order(rig: Rig) -> None:
    rig.simulate("shaky", faults={"p_refused": 0.4, "p_declined": 0.4})
    job = rig.submit(TOTAL, route="declined")
    done = check(rig, job, TOTAL)
    # Of the two keys the first is none; the third of the list is one of the usual candidates.
    assert set(done) == {"shaky", "keyed#2"}
    assert classes(rig, job)["refused"] == done["keyed#2"] > TOTAL // 2
    story = rig.ask(lambda conn: job_story(conn, 1, job))
    told = {(one.deployment, one.among) for one in story.choices if one.by}
    assert {("shaky", USUAL), ("keyed#2", REFUSED)} <= told


@pytest.mark.parametrize("fault", FAULTS)
def test_where_there_is_no_other_the_work_waits_for_one_that(rig: Rig, fault: str) -> None:
    patch, leaf, cause = FAULTS[fault]
    job = rig.submit(MANY, route="alone")
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
    assert check(rig, job, MANY) == {"shaky": MANY}
    assert leaf in classes(rig, job)


def test_a_refused_key_closes_its_line_and_the_other_line_does_the_work(rig: Rig) -> None:
    job = rig.submit(TOTAL, route="keyed")
    closed = wait_standing(rig, "keyed#1", "disabled")
    assert "its key was refused: HTTP 401" in closed.reason
    assert "key 1 of 2 (env:RIG_BAD_KEY)" in closed.reason
    assert check(rig, job, TOTAL) == {"keyed#2": TOTAL}
    spent = classes(rig, job)
    assert set(spent) == {"credential_dead"}
    secrets = [*KEYS.values()]
    texts = rig.sql("select error from attempts where job_id = %(job)s", job=job)
    assert not any(secret in (text or "") for (text,) in texts for secret in secrets)


def test_where_no_key_works_the_work_waits_for_an_operator(rig: Rig) -> None:
    rig.simulate("keyed", credential="another-key-of-nobody")
    job = rig.submit(TOTAL, route="keyed")
    for line in ("keyed#1", "keyed#2"):
        wait_standing(rig, line, "disabled")
    wait_told(rig, job, "model or address, then `batchyard deployments resume keyed#2`")
    assert rig.results(job) == 0
    rig.simulate("keyed", credential=KEYS["RIG_GOOD_KEY"])
    open_again(rig, "keyed#1", "keyed#2")
    assert check(rig, job, TOTAL) == {"keyed#2": TOTAL}
