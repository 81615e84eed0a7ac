"""A job that is decided as a whole, on a running yard: its control worker dies in mid-plan, and its
money goes."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from db.connect import Connection
from db.router_models import promote, put_model
from routing.models.file import dump
from routing.training.choice import train_choice
from tests.faults.rig import HASTY, Rig, check_whole, running_yard, wait_until
from tests.faults.test_policies import run
from tests.routing.judged import judged

pytestmark = pytest.mark.timeout(300)

TOTAL = 200
BUDGET = 0.13
CONTROL = "worker-control"
PRICES = {"small": (0.1, 0.4), "large": (10.0, 40.0)}
PLANNING = """
select count(*) from pg_stat_activity
where wait_event_type = 'Lock' and query like '%%insert into waves%%' and pid <> pg_backend_pid()
"""


def price(name: str) -> dict[str, float]:
    return dict(zip(("input_per_mtok", "output_per_mtok"), PRICES[name], strict=True))


CONFIG: dict[str, Any] = {
    "providers": {
        "sim": {
            "kind": "simulator",
            "profile": {
                "seed": 7,
                "latency": {"ms": 60},
                "models": {name: {"price": price(name), "output_tokens": 10} for name in PRICES},
            },
        }
    },
    "deployments": {
        name: {"provider": "sim", "model": name, "price": price(name), "limits": {"in_flight": 16}}
        for name in PRICES
    },
    "routes": {
        "whole": {
            "candidates": [*PRICES],
            "choose": "optimize",
            "router": "tickets",
            "max_output": 16,
        }
    },
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_yard(tmp_path_factory.mktemp("plan"), HASTY, CONFIG) as rig:
        rig.ask(store)
        yield rig


async def store(conn: Connection) -> None:
    model = train_choice(judged(600), ["topic"])
    info = {**model.info, "candidates": list(model.candidates)}
    version = await put_model(conn, 1, "tickets", "choice", dump(model), info)
    await promote(conn, 1, "tickets", version)


def submit(rig: Rig) -> int:
    data = judged(TOTAL, seed=1)
    lines = [
        {"prompt": prompt, "metadata": tags}
        for prompt, tags in zip(data.prompts, data.metadata, strict=True)
    ]
    words = ("submit", "-", "--json", "--route", "whole", "--budget", str(BUDGET))
    told = run(rig, *words, text="\n".join(map(json.dumps, lines)))
    return int(json.loads(told)["id"].removeprefix("job_"))


def waves(rig: Rig, job: int) -> list[int]:
    """How many requests each sent out."""
    found = rig.sql(
        "select (body ->> 'requests')::int from waves where job_id = %(job)s order by wave", job=job
    )
    return [row[0] for row in found]


def pid(rig: Rig) -> int | None:
    service = rig.record.service(CONTROL)
    return service.pid if service and service.state == "ready" else None


def kill_in_mid_plan(rig: Rig, job: int) -> None:
    """The next wave's chunks are written, its row waits for the table, nothing is committed:
    then the worker dies, and another takes its place."""
    before, victim = len(waves(rig, job)), pid(rig)
    with psycopg.connect(rig.record.database_url) as other:
        other.execute("lock table waves in exclusive mode")
        wait_until(lambda: rig.one(PLANNING) > 0, "a wave that is being planned")
        rig.kill(CONTROL)
        wait_until(lambda: pid(rig) not in (None, victim), "another control worker")
        assert len(waves(rig, job)) == before


def test_a_control_worker_that_dies_in_mid_plan_plans_nothing_twice(rig: Rig) -> None:
    job = submit(rig)
    wait_until(lambda: len(waves(rig, job)) >= 2, "two waves")
    kill_in_mid_plan(rig, job)
    assert rig.wait_end(job) == "completed"
    calls = check_whole(rig, job, TOTAL)
    assert calls is not None
    assert calls.attempts == {"ok": TOTAL}
    assert sum(waves(rig, job)) == TOTAL
    assert rig.account(job)[0] <= BUDGET * 1e9


def test_what_no_longer_fits_at_its_candidate_is_answered_by_a_cheaper_one(rig: Rig) -> None:
    workers = rig.names("worker-call")
    rig.send(signal.SIGSTOP, *workers)
    try:
        job = submit(rig)
        wait_until(lambda: waves(rig, job) != [], "a wave")
        room = rig.one(
            "select min(bound) - 1 from chunks, unnest(bounds) as bound"
            " where job_id = %(job)s and deployment = 'large'",
            job=job,
        )
        limit = "update accounts set limit_nusd = %(room)s where id = %(account)s returning id"
        account = rig.one("select account_id from jobs where id = %(job)s", job=job)
        rig.sql(limit, room=room, account=account)
    finally:
        rig.send(signal.SIGCONT, *workers)
    assert rig.wait_end(job) == "completed"
    check_whole(rig, job, TOTAL)
    by = rig.sql("select distinct deployment from attempts where job_id = %(job)s", job=job)
    assert by == [("small",)]
    assert rig.account(job)[0] <= room
