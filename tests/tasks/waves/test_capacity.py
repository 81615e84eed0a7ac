"""What candidates can do until a deadline: beside other jobs, under limits as they were found."""

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.brake import Limit
from core.money import Price
from db.brakes import Braked
from db.vitals import Vital
from db.waves import Answered, Others, Out, PlanJob, read_others
from tasks.waves.capacity import calls
from tasks.waves.rows import Requests, Seen
from tests.conftest import DEPLOYMENTS, deployment

PRICE = Price(Decimal(10), Decimal(20))
FREE = deployment("large", "my-70b", PRICE)
NAMES = ["small", "large"]
REQUESTS: Any = SimpleNamespace(tokens=np.array([100, 300]), outputs=np.array([50, 150]))
"""Of 300 tokens each, 100 of them out, on average."""


def most(
    *, left_s: float | None = 100.0, limits: dict[str, int] | None = None, **more: Any
) -> list[float] | None:
    """Calls of `large`, which has these limits; `small` has none."""
    job = PlanJob(1, 1, 100, 1, True, left_s, None, 0, 0, 0, 0, 0.0)
    given: dict[str, Any] = {"out": (), "vitals": {}, "brakes": (), "others": {}} | more
    seen = Seen(
        job=job, waiting=(), plans={}, foreseen=(), answered=Answered([], [], []),
        deployments={
            "small": DEPLOYMENTS["small"],
            "large": replace(FREE, buckets=replace(FREE.buckets, **(limits or {}))),
        },
        standing={}, router=None, price=0.0, **given,
    )  # fmt: skip
    requests: Requests = REQUESTS
    found = calls(seen, NAMES, requests)
    return None if found is None else found.tolist()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"rpm": 6}, 10),
        ({"tpm": 6 * 300}, 10),
        ({"input_tpm": 6 * 200}, 10),
        ({"output_tpm": 6 * 100, "rpm": 60}, 10),
        ({"in_flight": 2, "rpm": 6000}, 400),
    ],
)
def test_the_tightest_limit_tells(limits, expected) -> None:
    found = most(limits=limits, vitals={"large": Vital("large", latency_ms=500.0)})
    assert found == [np.inf, expected]


def test_without_a_deadline_or_a_limit_nothing_is_bounded() -> None:
    assert most() is None
    assert most(limits={"rpm": 6}, left_s=None) is None
    assert most(limits={"rpm": 6}, left_s=-1.0) == [np.inf, 0]


@pytest.mark.parametrize(
    ("others", "expected"),
    [(Others(1, 4), 6), (Others(1, 100), 5), (Others(4, 100), 2), (Others(4, 1), 9)],
)
def test_others_take_their_share_and_no_more_than_they_have(others, expected) -> None:
    assert most(limits={"rpm": 6}, others={"large": others}) == [np.inf, expected]


def test_what_is_out_already_is_no_longer_free() -> None:
    out = [Out("large", [1, 2, 3], 0)]
    assert most(limits={"rpm": 6}, out=out) == [np.inf, 7]


def test_a_limit_counts_as_it_was_found_and_a_learnt_one_is_one() -> None:
    lower = Braked("large", "large", Limit.REQUESTS, 3.0, 1.0)
    assert most(limits={"rpm": 6}, brakes=[lower]) == [np.inf, 5]
    vitals = {"large": Vital("large", latency_ms=1000.0)}
    window = Braked("large", "large", Limit.WINDOW, 2.0, 1.0)
    assert most(vitals=vitals, brakes=[window]) == [np.inf, 200]
    paused = Braked("large", "large", Limit.PAUSE, 0.0, 1.0)
    assert most(brakes=[paused]) is None


def test_what_others_have_is_read_by_deployment(inn) -> None:
    mine, other, third = (inn.submit(["a"]) for _ in range(3))
    bound = [(mine, "large", 5, 0), (other, "large", 4, 1)]
    for job, deployed, size, sent in (*bound, (third, "large", 2, 0), (third, "small", 1, 0)):
        numbers = list(range(size))
        inn.put(
            "chunks", job_id=job, part=inn.part(job), kind="call", status="planned", size=size,
            sent=sent, seqs=numbers, tries=numbers, calls=numbers, tokens=numbers, bounds=numbers,
            deployment=deployed, candidate=0,
        )  # fmt: skip

    async def read(conn: Any, _: int) -> dict[str, Others]:
        return await read_others(conn, mine)

    assert inn.ask(read) == {"large": Others(2, 5), "small": Others(1, 1)}
