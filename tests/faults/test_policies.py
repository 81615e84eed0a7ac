"""Policies on a running yard: two endpoints share the work, and what one of them cannot do goes
where its route sends it, all by way of dispatch."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from batchyard.services import ROOT
from tests.faults.providers import PRICE, provider
from tests.faults.rig import HASTY, Rig, check_whole, running_yard

pytestmark = pytest.mark.timeout(300)

WINDOW = 120
MODELS = {"tiny": {"output_tokens": 10, "context": WINDOW}, "vast": {"output_tokens": 10}}
PROFILE = {"latency": {"ms": 20}, "models": MODELS}


def deployment(name: str, model: str) -> dict[str, Any]:
    return {"provider": name, "model": model, "limits": {"in_flight": 32}, "price": PRICE}


CONFIG: dict[str, Any] = {
    "providers": {name: provider(profile=PROFILE) for name in ("east", "west", "deep")},
    "deployments": {
        "east": deployment("east", "tiny"),
        "west": deployment("west", "tiny"),
        "deep": deployment("deep", "vast"),
    },
    "routes": {
        "default": {
            "candidates": ["east", "west"],
            "choose": "spread",
            "too_long": ["deep"],
            "max_output": 16,
        }
    },
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_yard(tmp_path_factory.mktemp("policies"), HASTY, CONFIG) as rig:
        yield rig


def run(rig: Rig, *words: str, text: str | None = None) -> str:
    """The program, as a user has it."""
    done = subprocess.run(
        [sys.executable, "-m", "batchyard", *words],
        cwd=ROOT,
        env={"BATCHYARD_HOME": str(rig.home.path), "BATCHYARD_CONFIG": str(rig.config)},
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_endpoints_share_and_what_is_too_long_goes_to_its_list(rig: Rig) -> None:
    long = "word " * (WINDOW + 60)
    lines = [{"custom_id": f"m-{n}", "prompt": f"Message {n}"} for n in range(2000)]
    lines += [{"custom_id": f"long-{n}", "prompt": f"{n} {long}"} for n in range(20)]
    text = "\n".join(map(json.dumps, lines))
    job = int(json.loads(run(rig, "submit", "-", "--json", text=text))["id"].removeprefix("job_"))
    assert rig.wait_end(job) == "completed"
    assert rig.audit(job).violations == ()
    rows = rig.sql(
        "select r.deployment, r.status, q.custom_id like 'long%%', count(*)::int from results r"
        " join requests q using (part, job_id, seq) where job_id = %(job)s group by 1, 2, 3",
        job=job,
    )
    counts = {(name, long_): count for name, status, long_, count in rows if status == "completed"}
    assert counts.pop(("deep", True)) == 20
    assert set(counts) == {("east", False), ("west", False)}
    assert min(counts.values()) >= 600

    told = json.loads(run(rig, "explain", str(job), "long-7", "--json"))
    first, last = told["calls"][0], told["calls"][-1]
    assert first["error_class"] == "too_long"
    assert first["why"]["by"] == "spread"
    assert last["deployment"] == "deep"
    assert next(iter(last["why"]["saw"])) == "deep"
    whole = run(rig, "explain", str(job))
    assert "calls to deep, chosen as ordered" in whole
    assert "chosen as spread" in whole


def test_a_request_waits_no_longer_for_an_answer_than_it_says(rig: Rig) -> None:
    """Its provider hangs for ever, and would be waited for much longer. The deployment stays
    open: others may have more patience."""
    rig.simulate("deep", faults={"p_hang": 1.0})
    try:
        lines = [
            {"prompt": f"Message {n}", "model": "deep", "timeout": 1, "fallbacks": ["west"]}
            for n in range(40)
        ]
        text = "\n".join(map(json.dumps, lines))
        job = int(
            json.loads(run(rig, "submit", "-", "--json", text=text))["id"].removeprefix("job_")
        )
        assert rig.wait_end(job) == "completed"
    finally:
        rig.simulate("deep", faults={"p_hang": 0.0})
    check_whole(rig, job, 40, simulated=False)
    calls = "select n, deployment, status, count(*)::int from attempts where job_id = %(job)s"
    assert rig.sql(f"{calls} group by 1, 2, 3 order by 1", job=job) == [
        (1, "deep", "unknown", 40),
        (2, "west", "ok", 40),
    ]
    errors = "select distinct error from attempts where job_id = %(job)s and n = 1"
    assert "within 1 s" in rig.one(errors, job=job)
    assert rig.sql("select deployment from deployment_state where status <> 'open'") == []
    assert "within 1 s" in run(rig, "explain", str(job), "request-1")
