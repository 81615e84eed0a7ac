"""A cascade on a running yard: its calls are killed between the steps, and its budget ends."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from db.connect import Connection
from db.router_models import promote, put_model
from routing.models.file import dump
from routing.training.acceptance import train_acceptance
from routing.training.choice import train_choice
from tests.faults.rig import HASTY, Rig, check_whole, running_yard
from tests.faults.test_policies import run
from tests.routing.answered import answered

pytestmark = pytest.mark.timeout(300)

TOTAL = 1200
LABELS = ("refund", "card", "transfer", "fee", "limit")
KEY = {str(n): LABELS[n % len(LABELS)] for n in range(TOTAL)}
PRICES = {"small": (0.1, 0.4), "mini": (0.25, 2.0), "large": (10.0, 40.0)}


def deployment(name: str) -> dict[str, Any]:
    price = dict(zip(("input_per_mtok", "output_per_mtok"), PRICES[name], strict=True))
    return {"provider": "sim", "model": name, "limits": {"in_flight": 32}, "price": price}


def model(name: str, accuracy: float) -> dict[str, Any]:
    return {"accuracy": accuracy, "price": deployment(name)["price"]}


CONFIG: dict[str, Any] = {
    "providers": {
        "sim": {
            "kind": "simulator",
            "timeout": 20,
            "profile": {
                "seed": 7,
                "latency": {"ms": 60},
                "models": {
                    "small": model("small", 0.8),
                    "mini": model("mini", 0.85),
                    "large": model("large", 1.0),
                },
                "answers": {id_: {"answer": answer} for id_, answer in KEY.items()},
            },
        }
    },
    "deployments": {name: deployment(name) for name in PRICES},
    "routes": {
        "default": {"candidates": ["large"], "max_output": 16},
        "smart": {
            "candidates": ["small", "mini", "large"],
            "choose": "cascade",
            "cascade": "agreement",
            "max_output": 16,
        },
        "learned": {
            "candidates": ["small", "large"],
            "choose": "cascade",
            "router": "judge",
            "cascade": {"threshold": 0.5},
            "max_output": 16,
        },
        "taught": {
            "candidates": ["small", "mini", "large"],
            "choose": "cascade",
            "router": {"model": "pupil", "quality": 0.97},
            "max_output": 16,
        },
    },
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_yard(tmp_path_factory.mktemp("cascade"), HASTY, CONFIG) as rig:
        yield rig


def submit(rig: Rig, *options: str, route: str = "smart") -> int:
    lines = [
        {"custom_id": id_, "prompt": f"Which label? [#{id_}]", "metadata": {"label": label}}
        for id_, label in KEY.items()
    ]
    text = "\n".join(map(json.dumps, lines))
    told = run(rig, "submit", "-", "--json", "--route", route, *options, text=text)
    return int(json.loads(told)["id"].removeprefix("job_"))


def results(rig: Rig, job: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(rig, "results", str(job)).splitlines()]


def said(line: dict[str, Any]) -> str:
    return str(line["response"]["body"]["choices"][0]["message"]["content"])


def right(lines: list[dict[str, Any]]) -> float:
    texts = {line["custom_id"]: said(line) for line in lines}
    return sum(texts[id_] == answer for id_, answer in KEY.items()) / len(KEY)


def test_workers_killed_between_the_steps_lose_and_double_nothing(rig: Rig) -> None:
    job = submit(rig)
    rig.wait_results(job, TOTAL // 4)
    rig.kill(rig.busy_worker())
    assert rig.wait_end(job) == "completed"
    rig.wait_idle()
    check_whole(rig, job, TOTAL)
    lines = results(rig, job)
    steps = Counter(line["batchyard"]["cascade"]["step"] for line in lines)
    assert set(steps) == {2, 3}
    by = Counter(line["batchyard"]["deployment"] for line in lines)
    assert by == {"mini": steps[2], "large": steps[3]}
    # Both wrong in the same way is rare: what remains is right.
    assert right(lines) > 0.98
    asked = Counter[str]()
    for line in lines:
        asked[line["custom_id"]] = line["batchyard"]["attempts"]
    assert min(asked.values()) >= 2

    told = json.loads(run(rig, "job", str(job), "--json"))
    by_name = {one["deployment"]: one for one in told["by_deployment"]}
    assert by_name["small"]["escalations"] >= TOTAL - by_name["small"]["retries"] - 32
    assert by_name["mini"]["escalations"] >= steps[3]
    escalated = next(line for line in lines if line["batchyard"]["cascade"]["step"] == 3)
    story = run(rig, "explain", str(job), escalated["custom_id"])
    assert "cascade by agreement: small, mini, large" in story
    assert "escalated: 1 of 2 asked" in story
    assert "step 3 of 3 of its cascade: the last candidate" in story


def test_where_the_budget_is_too_short_for_the_strong_the_cheap_answers_count(rig: Rig) -> None:
    whole = submit(rig)
    assert rig.wait_end(whole) == "completed"
    spent, _, _ = rig.account(whole)
    job = submit(rig, "--budget", f"{spent * 0.6 / 1e9:.9f}")
    assert rig.wait_end(job) in ("completed", "budget_exhausted")
    assert rig.audit(job).violations == ()
    assert rig.account(job)[0] <= spent * 0.6
    lines = [line for line in results(rig, job) if line["response"]]
    steps = [line["batchyard"]["cascade"] for line in lines]
    short = [one for one in steps if not one["accepted"]]
    assert short
    assert all("budget" in one["why"] for one in short)
    assert len(lines) > 0.9 * TOTAL


def test_a_learned_scorer_judges_answers_beside_the_running_calls(rig: Rig) -> None:
    data = answered(300)
    judge = train_acceptance(data)
    assert judge is not None
    model = replace(train_choice(data), acceptance=judge)

    async def store(conn: Connection) -> None:
        version = await put_model(
            conn,
            1,
            "judge",
            "choice",
            dump(model),
            {**model.info, "acceptance": judge.info},
        )
        await promote(conn, 1, "judge", version)

    rig.ask(store)
    job = submit(rig, route="learned")
    assert rig.wait_end(job) == "completed"
    check_whole(rig, job, TOTAL)
    first = [line for line in results(rig, job) if line["batchyard"]["cascade"]["step"] == 1]
    # As in training: the label of which `small` was sure is taken from it, no other.
    assert {said(line) for line in first} == {"refund"}
    assert {line["batchyard"]["deployment"] for line in first} == {"small"}
    assert all(line["batchyard"]["cascade"]["score"] >= 0.5 for line in first)
    assert len(first) > TOTAL / len(LABELS) / 2


def test_a_pilot_teaches_a_cascade_and_the_rest_goes_by_it(rig: Rig) -> None:
    job = submit(rig, "--gold", "label", "--pilot", "150", "--budget", "10", route="taught")
    assert rig.wait_end(job) == "completed"
    told = json.loads(run(rig, "job", str(job), "--json"))
    lesson = "pupil version 1 learned of 150 prompts"
    assert lesson in json.dumps(told)
    assert "Its cascade asks small, mini, then large" in json.dumps(told)
    lines = results(rig, job)
    assert len(lines) == TOTAL
    own = [line for line in lines if "cascade" in line["batchyard"]]
    assert len(own) == TOTAL - 150
    # Both cheap ones are asked, and the strong one where they differ.
    assert {line["batchyard"]["cascade"]["step"] for line in own} <= {1, 2, 3}
    assert {line["batchyard"]["cascade"]["steps"] for line in own} == {2, 3}
    strong = sum(line["batchyard"]["deployment"] == "large" for line in own)
    assert 0.15 < strong / len(own) < 0.6
    assert right(lines) > 0.95
    assert rig.audit(job).violations == ()
