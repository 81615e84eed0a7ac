"""Intents on the command line: from the example file, from tables, into the store."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.routing.spoken import STRANGE, spoken

EXAMPLE = Path(__file__).parents[3] / "examples" / "intents.yaml"


def table(path: Path, each: int, seed: int, split: str | None = None) -> Path:
    rows = [
        {"text": text, "label": label, **({"split": split} if split else {})}
        for text, label in zip(*spoken(each, seed), strict=True)
    ]
    rows += [
        {"text": text, "label": "oos", **({"split": split} if split else {})} for text in STRANGE
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_the_example_file_trains_a_model_that_routes_go_by(inn: Any, program: Any) -> None:
    inn.submit(["a"])
    where = {"BATCHYARD_DATABASE_URL": inn.database_url}
    train = ("router", "train", "--task", "intent", "--intents", str(EXAMPLE), "--name", "banking")
    assert "no models; train one" in program("router", "list", **where).err
    done = program(*train, "--json", **where)
    assert (done.json["version"], done.json["promoted"], done.json["intents"]) == (1, True, 8)
    assert done.json["out_of_scope"] == "20 examples"
    again = program(*train, **where)
    assert "out of scope: 20 examples, 100% of them found; and 2% of the prompts" in again.err
    assert "banking version 2: routes go by it now" in again.out
    other = program(
        "router", "train", "--task", "intent", "--intents", str(EXAMPLE), "--name", "b", **where
    )
    assert other.code == 0
    [listed, *_] = program("router", "list", "--json", **where).json
    assert listed["task"] == "intent"
    shown = program("router", "list", **where).out
    assert f"{done.json['intents']} intents" in shown


def test_a_model_from_a_table_is_measured_on_another(tmp_path: Path, program: Any) -> None:
    data = table(tmp_path / "train.jsonl", 20, 0)
    model = tmp_path / "spoken.router"
    done = program(
        "router", "train", "--task", "intent", "--data", str(data), "--out", str(model), "--json"
    )
    assert (done.json["examples"], done.json["calibrated_by"]) == (60, "cross-validation")
    told = program(
        "router", "eval", "--model", str(model), "--data",
        str(table(tmp_path / "test.jsonl", 30, 1)), "--json",
    ).json  # fmt: skip
    assert told["accuracy"] > 0.9
    for key in (
        "oos_auroc",
        "accuracy_at_80_oos_recall",
        "coverage",
        "answered_share",
        "answered_accuracy",
    ):
        low, high = told["intervals"][key]
        assert low <= told[key] <= high
    assert told["prompts_per_cpu_s"] > 0


def test_what_is_held_back_is_not_learned_from(tmp_path: Path, program: Any) -> None:
    train, held = (
        table(tmp_path / f"{split}.jsonl", 10, seed, split)
        for seed, split in enumerate(("train", "val"))
    )
    whole = tmp_path / "whole.jsonl"
    whole.write_text(f"{train.read_text()}\n{held.read_text()}")
    common = ("router", "train", "--task", "intent", "--data", str(whole), "--json")
    out = str(tmp_path / "a.router")
    done = program(*common, "--out", out).json
    assert (done["examples"], done["calibration"]) == (30, 30)
    assert done["calibrated_by"] == "held back"
    few = program(*common, "--out", out, "--labels", "15").json
    assert (few["examples"], few["calibrated_by"]) == (15, "cross-validation")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--out FILE, or --name NAME"),
        (("--out", "x"), "--data, a table, or --intents"),
        (("--out", "x", "--intents", "nowhere.yaml"), "cannot be read"),
        (("--out", "x", "--intents", str(EXAMPLE), "--encoder", "nowhere"), "no such file"),
        (("--out", "x", "--intents", str(EXAMPLE), "--metadata", "a"), "for --task choice"),
    ],
)
def test_what_cannot_be_trained_is_told(program: Any, options: tuple[str, ...], said: str) -> None:
    done = program("router", "train", "--task", "intent", *options)
    assert done.code == 2
    assert said in done.err


def test_a_job_is_compared_with_what_its_intents_were_trained_on(
    inn: Any, program: Any, tmp_path: Path
) -> None:
    where = {"BATCHYARD_DATABASE_URL": inn.database_url}
    data = table(tmp_path / "train.jsonl", 20, 0)
    inn.submit(["a"])
    program("router", "train", "--task", "intent", "--data", str(data), "--name", "said", **where)
    texts, labels = spoken(10, 1)
    job = inn.submit([{"prompt": text} for text in texts])
    shown = ("router", "show", "said", "--json")
    assert set(program(*shown, **where).json["drift"]["index"]) == {"length"}
    at = {"part": inn.part(job), "job_id": job, "round": 1}
    [(chunk,)] = inn.rows("select id from chunks where job_id = %s", job)
    told = list(labels[:20])
    inn.put(
        "routes", **at, chunk_id=chunk, seqs=list(range(20)), plan_ids=[1] * 20,
        tokens=[1] * 20, reasons="{}", intents=told, intent_probability=[0.9] * 20,
    )  # fmt: skip
    for seq in range(20, 30):
        inn.put("results", **at, seq=seq, status="out_of_scope", commit_id=1)
    drifted = program(*shown, **where).json["drift"]
    assert drifted["ended"] == {"out of scope": 1 / 3, "asked about": 0}
    assert drifted["index"]["intent"] > 0.25
    assert "out of scope: 33.3% of its requests" in program("router", "show", "said", **where).out
