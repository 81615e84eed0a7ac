"""Files that nothing can be learned from are refused with what to do about it."""

import json
from pathlib import Path
from typing import Any

import pytest

ROWS = [
    {"prompt": f"prompt {n}", "small": n % 2, "large": 1, "small|usd": 0.001, "large|usd": 0.01}
    for n in range(40)
]


def table(at: Path, rows: list[dict[str, Any]]) -> str:
    at.write_text("\n".join(map(json.dumps, rows)))
    return str(at)


@pytest.mark.parametrize(
    ("change", "args", "told"),
    [
        ({"small": None}, ("--candidates", "small,large"), "leave it out of --candidates"),
        ({"small|usd": None}, (), "holds no cost in any row. Give some, or --prices FILE"),
        ({"small|usd": float("inf")}, (), "without end: costs are US dollars"),
        ({"small|usd": -1}, (), "below zero"),
    ],
)
def test_columns_that_tell_nothing(program, tmp_path, change, args, told) -> None:
    data = table(tmp_path / "judged.jsonl", [row | change for row in ROWS])
    out = tmp_path / "m.router"
    refused = program(
        "router", "train", "--data", data, "--task", "choice", *args, "--out", str(out)
    )
    assert refused.code == 2
    assert told in " ".join(refused.err.split())
    assert not out.exists()


@pytest.mark.parametrize(
    ("labels", "told"),
    [("oos", "All examples are out of scope. Name an intent"), ("a", "Give two intents or more")],
)
def test_examples_of_no_two_intents(program, tmp_path, labels, told) -> None:
    rows = [{"text": row["prompt"], "label": labels} for row in ROWS]
    data = table(tmp_path / "said.jsonl", rows)
    out = str(tmp_path / "m.router")
    refused = program("router", "train", "--data", data, "--task", "intent", "--out", out)
    assert refused.code == 2
    assert told in " ".join(refused.err.split())


@pytest.mark.parametrize("bare", [None, "", "  "])
def test_prompts_without_a_label_are_named_and_not_taken_for_out_of_scope(
    program, tmp_path, bare
) -> None:
    rows = [{"text": row["prompt"], "label": "ab"[n % 2]} for n, row in enumerate(ROWS)]
    for row in (2, 5):
        rows[row]["label"] = bare
    data, out = table(tmp_path / "said.jsonl", rows), str(tmp_path / "m.router")
    command = ("router", "train", "--data", data, "--task", "intent", "--out", out)
    refused = program(*command)
    assert refused.code == 2
    told = " ".join(refused.err.split())
    assert "label is empty in rows 3, 6. Write oos where a prompt has none of the intents" in told
    # What is left for a test is not learned from.
    for n, row in enumerate(rows):
        row["split"] = "test" if n in (2, 5) else "train"
    table(tmp_path / "said.jsonl", rows)
    assert program(*command).code == 0


@pytest.mark.parametrize(
    ("rows", "without", "told"),
    [
        (range(1), "value", "none of small in row 1: learned from the others"),
        (range(9), "value", "none of small in rows 1, 2, 3, 4, 5 and 4 more"),
        (range(40), "column", "(large|usd is not used: not every candidate has one)"),
    ],
)
def test_costs_that_are_missing_are_told(program, tmp_path, rows, without, told) -> None:
    judged = [dict(row) for row in ROWS]
    for row in rows:
        judged[row]["small|usd"] = None
        if without == "column":
            del judged[row]["small|usd"]
    data = table(tmp_path / "judged.jsonl", judged)
    done = program("router", "train", "--data", data, "--out", str(tmp_path / "m.router"))
    assert done.code == 0
    assert told in " ".join(done.err.split())


def test_a_file_of_intents_that_cannot_be_read_is_named_once(program, tmp_path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("")
    out = str(tmp_path / "m.router")
    refused = program("router", "train", "--intents", str(file), "--task", "intent", "--out", out)
    assert refused.code == 2
    told = "".join(refused.err.split())
    assert told.count("empty.yaml") == 1
    assert "Beginwithintents:" in told
