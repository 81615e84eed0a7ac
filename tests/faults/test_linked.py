"""Linked jobs on a running yard: a model is asked for intents, people are asked what they meant,
and all of it adds up to one job, one budget and one ledger."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from core.pilot import PilotOptions
from db.jobs import job_view
from db.results import stream_results
from db.scores import job_scores
from tasks.clarify import clarify
from tasks.submit import SubmitOptions, submit
from tests.faults.providers import PRICE, provider
from tests.faults.rig import HASTY, Rig, running_yard

pytestmark = pytest.mark.timeout(300)

SAID = {"card": "card", "loan": "loan", "rain": "out_of_scope", "both": "unclear"}
ANSWERS = {
    f"{key}{n}": {
        "answer": f"an answer to {key}",
        "by_model": {
            "judge": {"text": json.dumps({"intent": said, "alternatives": ["card", "loan"]})}
        },
    }
    for key, said in SAID.items()
    for n in range(25)
}
PROMPTS = [{"custom_id": name, "prompt": f"What of this? [#{name}]"} for name in ANSWERS]
# What is hard for `tiny` shows in the words; `vast` knows everything.
HARD = {
    f"hard{n}": {
        "answer": "right",
        "by_model": {"tiny": {"text": "wrong"}, "vast": {"text": "right"}},
    }
    for n in range(100)
}
EASY = {
    f"easy{n}": {"answer": "right", "by_model": {m: {"text": "right"} for m in ("tiny", "vast")}}
    for n in range(100)
}
QUESTIONS = [
    {
        "custom_id": name,
        "prompt": f"{'Prove the theorem' if name in HARD else 'Name the colour'} [#{name}]",
        "max_tokens": 16,
        "metadata": {"label": "right"},
    }
    for pair in zip(HARD, EASY, strict=True)
    for name in pair
]
DEAR = {"input_per_mtok": 25, "output_per_mtok": 200}
PRICES = {"judge": PRICE, "mini": PRICE, "tiny": PRICE, "vast": DEAR}
MODELS = {name: {"output_tokens": 10, "price": price} for name, price in PRICES.items()}
CONFIG: dict[str, Any] = {
    "providers": {"sim": provider(profile={"models": MODELS, "answers": ANSWERS | HARD | EASY})},
    "deployments": {
        name: {"provider": "sim", "model": name, "limits": {"in_flight": 32}, "price": price}
        for name, price in PRICES.items()
    },
    "routes": {
        "bank": {
            "candidates": ["mini"],
            "max_output": 16,
            "intents": {"llm": "judge", "file": {"intents": {"card": {}, "loan": {}}}},
        },
        "smart": {
            "candidates": ["tiny", "vast"],
            "choose": "threshold",
            "router": {"model": "learned", "quality": 0.97},
            "max_output": 16,
        },
    },
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_yard(tmp_path_factory.mktemp("linked"), HASTY, CONFIG) as rig:
        yield rig


def told(rig: Rig, job: int) -> dict[str, dict[str, Any]]:
    async def read(conn: Any) -> bytes:
        return b"".join([block async for block in stream_results(conn, 1, job)])

    lines = map(json.loads, rig.ask(read).splitlines())
    return {line["custom_id"]: line["batchyard"] for line in lines}


def test_what_a_model_and_then_people_say_of_intents_is_followed(rig: Rig) -> None:
    async def start() -> int:
        async with rig._context() as ctx:
            return await submit(ctx, PROMPTS, SubmitOptions(route="bank", budget_nusd=10**9))

    async def answer(job: int) -> int:
        given = [{"custom_id": f"both{n}", "answer": 1 + n % 2} for n in range(20)]
        async with rig._context() as ctx:
            done = await clarify(ctx, 1, job, given)
            assert (done.answered, done.unanswered) == (20, 5)
            assert done.job_id is not None
            return done.job_id

    job = asyncio.run(start())
    assert rig.wait_end(job) == "completed"
    view = rig.ask(lambda conn: job_view(conn, 1, job))
    assert view.counts == {
        "completed": 50,
        "failed": 0,
        "out_of_scope": 25,
        "needs_clarification": 25,
    }
    [asked] = view.linked
    assert (asked.kind, asked.status, asked.completed) == ("intent", "completed", 100)
    assert asked.cost_nusd > 0
    assert view.spent_nusd == view.cost_nusd + asked.cost_nusd
    assert rig.wait_end(asyncio.run(answer(job))) == "completed"
    lines = told(rig, job)
    assert [lines[f"both{n}"]["status"] for n in (0, 19, 24)] == [
        "completed",
        "completed",
        "needs_clarification",
    ]
    assert lines["rain3"]["cost_usd"] == "0"
    assert lines["both0"]["attempts"] == 1
    assert rig.ask(lambda conn: job_view(conn, 1, job)).clarified == {"completed": 20}
    report = rig.audit(job)
    assert report.violations == ()
    assert report.jobs == 3


def test_a_pilot_teaches_a_router_and_the_rest_goes_by_it(rig: Rig) -> None:
    async def start() -> int:
        options = SubmitOptions(
            route="smart", budget_nusd=10**10, gold="label", pilot=PilotOptions(60, "label")
        )
        async with rig._context() as ctx:
            return await submit(ctx, QUESTIONS, options)

    job = asyncio.run(start())
    assert rig.wait_end(job) == "completed"
    view = rig.ask(lambda conn: job_view(conn, 1, job))
    [tried] = view.linked
    assert (tried.kind, tried.status, tried.completed) == ("pilot", "completed", 120)
    # Which half is drawn a little more often is the sample's lot.
    learned = r"learned version 1 learned of 60 prompts \(mean scores: tiny 0\.[45]\d, vast 1\.00\)"
    assert re.search(learned, view.lesson)
    assert view.completed == 200
    calls = {share.deployment: share.attempts for share in view.shares}
    assert calls["tiny"] + calls["vast"] == 140, "60 were answered by the pilot"
    assert calls["tiny"] >= 30, "what is easy is asked where it is cheap"
    lines = told(rig, job)
    assert sum(line.get("pilot_by") == f"job_{tried.id}" for line in lines.values()) == 60
    scores = rig.ask(lambda conn: job_scores(conn, 1, job))
    right = sum(one.total for one in scores.sums)
    assert right >= 190
    assert rig.audit(job).violations == ()
