"""Questions and answers on the command line, and linked jobs under their parent."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.test_clarify import answer, asked_job


@pytest.fixture
def run(inn, program) -> Any:
    def called(*args: str, **given: str) -> Any:
        return program(*args, BATCHYARD_DATABASE_URL=inn.database_url, **given)

    return called


def test_a_table_of_questions_is_filled_in_and_sent_on(inn, program, run) -> None:
    job = f"job_{asked_job(inn, budget_nusd=10**9)}"
    path = Path(program.folder) / "questions.csv"
    assert (
        f"then: batchyard clarify {job} --answers questions.csv"
        in run("clarify", job, "-o", "questions.csv").err
    )
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == ["custom_id", "prompt", "question", "options", "answer"]
    assert (
        rows[0][3]
        == "1: lost_card (You have lost your card); 2: stolen_card (Your card was stolen)"
    )
    rows[0][4], rows[1][4] = "2", "It fell into the sea"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    said = run("clarify", job, "--answers", "questions.csv")
    assert (said.code, said.out) == (0, "job_2\n")
    assert "2 answers sent on" in said.err
    assert "1 question still open" in said.err
    answer(inn, 2, 0, "sorry to hear that")
    first = json.loads(run("results", job).out.splitlines()[1])
    assert first["batchyard"]["clarified_by"] == "job_2"
    listed = run("jobs").out.splitlines()
    assert listed[1].startswith(f"{job} ")
    assert listed[2].startswith("└ job_2 ")
    assert "clarified" in listed[2]
    assert [(one["id"], one["kind"], one["parent_id"]) for one in run("jobs", "--json").json] == [
        (job, "live", None),
        ("job_2", "clarified", job),
    ]
    shown = run("job", job).out
    assert "└ job_2  clarified  in_progress  0/2" in shown
    assert "2 clarified (1 completed, 1 open)" in shown
    assert f"clarified of {job}" in run("job", "job_2").out
    assert run("job", job, "--json").json["clarified"] == {"completed": 1, "open": 1}


def test_answers_come_by_pipe_and_bad_ones_are_told(inn, run) -> None:
    job = f"job_{asked_job(inn)}"
    questions = run("clarify", job).out.splitlines()
    assert [json.loads(line)["custom_id"] for line in questions] == ["c1", "c2", "c3"]
    assert len(run("clarify", job, "--json").json["questions"]) == 3
    lines = ['{"custom_id": "c1", "answer": "9"}', '{"custom_id": "nobody", "answer": "1"}']
    said = run("clarify", job, "--answers", "-", "--json", stdin="\n".join(lines))
    assert said.code != 0
    assert said.error["problems"][0]["field"] == "answer"
    done = run("clarify", job, "--answers", "-", "--json", stdin=lines[1]).json
    assert done == {
        "id": None,
        "parent_id": job,
        "answered": 0,
        "unanswered": 3,
        "unknown": ["nobody"],
    }
