"""Linked jobs on a running yard: a model is asked for intents, people are asked what they meant,
and all of it adds up to one job, one budget and one ledger."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from db.jobs import job_view
from db.results import stream_results
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
MODELS = {name: {"output_tokens": 10, "price": PRICE} for name in ("judge", "mini")}
CONFIG: dict[str, Any] = {
    "providers": {"sim": provider(profile={"models": MODELS, "answers": ANSWERS})},
    "deployments": {
        name: {"provider": "sim", "model": name, "limits": {"in_flight": 32}, "price": PRICE}
        for name in MODELS
    },
    "routes": {
        "bank": {
            "candidates": ["mini"],
            "max_output": 16,
            "intents": {"llm": "judge", "file": {"intents": {"card": {}, "loan": {}}}},
        }
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
