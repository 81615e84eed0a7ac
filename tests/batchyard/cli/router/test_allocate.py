"""A whole file assigned on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from routing.models.file import dump
from routing.training.choice import train_choice
from tests.routing.judged import judged


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A model, and judged prompts with costs."""
    at: Path = tmp_path_factory.mktemp("allocate")
    model, data = at / "tickets.router", judged(200, seed=2)
    model.write_bytes(dump(train_choice(judged(400), ["topic"])))
    rows = [
        {"prompt": prompt, **data.metadata[row]}
        | dict(zip(data.candidates, data.quality[row].tolist(), strict=True))
        | {f"{n}|total_cost": float(data.cost[row, c]) for c, n in enumerate(data.candidates)}
        for row, prompt in enumerate(data.prompts)
    ]
    table = at / "judged.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)))
    return str(model), str(table)


def call(program: Any, files: tuple[str, str], *args: str) -> Any:
    return program("router", "allocate", "--model", files[0], "--data", files[1], *args)


def test_a_file_is_assigned_within_a_budget_and_a_capacity(program, files) -> None:
    free = call(program, files, "--budget", "1000", "--json").json
    budget = free["spend_usd"] * 0.6
    told = call(program, files, "--budget", str(budget), "--json").json
    assert told["spend_usd"] <= budget
    assert told["spend_usd"] == pytest.approx(budget, rel=0.02)
    assert told["quality"] <= free["quality"]
    assert told["true_quality"] is not None
    assert told["true_spend_usd"] > 0
    assert sum(one["requests"] for one in told["candidates"]) == told["requests"] == 200
    most = told["candidates"][-1]
    few = call(
        program, files, "--budget", str(budget), "--capacity", f"{most['candidate']}=3", "--json"
    ).json
    assert few["candidates"][-1]["requests"] <= 3
    assert "one more dollar brings" in call(program, files, "--budget", str(budget)).out


def test_what_does_not_fit_is_told_with_by_how_much(program, files) -> None:
    said = call(program, files, "--budget", "0.0000001")
    assert said.code == 2
    assert "--budget: the budget is $0.0000001," in said.err
    assert "more is needed" in said.err
    assert "Give --budget USD" in call(program, files).err
    assert (
        "the model has no such candidate"
        in call(program, files, "--budget", "1", "--capacity", "nobody=3").err
    )
