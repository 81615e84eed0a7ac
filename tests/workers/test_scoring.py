"""Answers are scored in a process of its own, that may die, and has no secret of ours."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchyard.services import ROOT
from db.connect import open_pool
from db.router_models import promote, put_model
from routing.models.file import dump
from routing.training.acceptance import train_acceptance
from routing.training.choice import train_choice
from tests.routing.answered import SURE, VAGUE, answered
from workers.scoring import AnswerScorer

Story = Callable[[AnswerScorer], Awaitable[Any]]


@pytest.fixture
def model(inn: Any) -> int:
    """A stored model that judges answers; its row."""
    data = answered(300)
    body = dump(replace(train_choice(data), acceptance=train_acceptance(data)))
    version = inn.ask(put_model, "judge", "choice", body, {})
    inn.ask(promote, "judge", version)
    return int(inn.rows("select id from router_models")[0][0])


def drive(database_url: str, story: Story) -> Any:
    async def whole() -> Any:
        async with open_pool(database_url, 1) as pool:
            scorer = AnswerScorer(pool)
            try:
                return await story(scorer)
            finally:
                await scorer.close()

    return asyncio.run(whole())


def test_many_at_once_are_told_apart(inn: Any, model: int) -> None:
    async def story(scorer: AnswerScorer) -> Any:
        texts = [
            {"small": SURE},
            {"small": VAGUE[0]},
            {"small": SURE, "vast": ""},
            {"small": "\ud800"},
        ]
        asked = (scorer.score(model, "Which label?", one) for one in texts * 50)
        return await asyncio.gather(*asked)

    told = drive(inn.database_url, story)
    sure, vague, beside, _ = told[:4]
    assert sure.likely["small"] > vague.likely["small"]
    assert sure.gain <= sure.least < vague.gain
    assert beside == sure
    assert told[:4] * 50 == told


def test_what_nothing_can_score_is_told_so(inn: Any, model: int) -> None:
    bare = inn.ask(put_model, "bare", "choice", dump(train_choice(answered(100))), {})
    assert bare == 1
    plain = int(inn.rows("select max(id) from router_models")[0][0])

    async def story(scorer: AnswerScorer) -> list[Any]:
        asked = (model + 99, {"small": SURE}), (plain, {"small": SURE}), (model, {"vast": SURE})
        return [await scorer.score(one, "a", said) for one, said in asked]

    assert drive(inn.database_url, story) == [None, None, None]


def test_a_child_that_dies_is_begun_again(inn: Any, model: int) -> None:
    async def story(scorer: AnswerScorer) -> None:
        first = await scorer.score(model, "a", {"small": SURE})
        child = scorer._child
        assert child is not None
        os.kill(child.pid, signal.SIGKILL)
        assert await scorer.score(model, "a", {"small": SURE}) == first
        assert scorer._child is not child

    drive(inn.database_url, story)


def test_the_child_has_no_key_of_ours(
    inn: Any, model: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAB_KEY", "not-for-children")

    async def story(scorer: AnswerScorer) -> Path:
        await scorer.score(model, "a", {"small": SURE})
        assert scorer._child is not None
        return _copy(Path(f"/proc/{scorer._child.pid}/environ"), tmp_path / "environ")

    assert b"not-for-children" not in drive(inn.database_url, story).read_bytes()


def _copy(source: Path, target: Path) -> Path:
    target.write_bytes(source.read_bytes())
    return target


def test_a_call_worker_has_no_numpy() -> None:
    heavy = "numpy scipy sklearn pyarrow matplotlib"
    code = f"import sys, workers.wiring; print(set({heavy.split()}) & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout == "set()\n"
