"""Learning of scored jobs: what is trained, when it is promoted, and what is said of it."""

import json

import numpy as np
import pytest

from db.router_models import promoted
from routing.models.file import load
from tests.routing.judged import CANDIDATES, judged


@pytest.fixture
def run(inn, program):
    (program.folder / "batchyard.yaml").write_text(
        "providers: {lab: {base_url: 'http://127.0.0.1:9/v1'}}\n"
        "deployments:\n"
        "  small: {provider: lab, model: a, price: {input_per_mtok: 1, output_per_mtok: 2}}\n"
        "  large: {provider: lab, model: b, price: {input_per_mtok: 10, output_per_mtok: 20}}\n"
        "routes: {default: {candidates: [small, large]}}\n"
    )

    def called(*args: str):
        return program("router", *args, BATCHYARD_DATABASE_URL=inn.database_url)

    return called


def scored_job(inn, *, seed: int, rows: int = 240, all_asked: bool = True) -> int:
    """A job whose prompts were asked of every candidate, or of one by lot."""
    data = judged(rows, seed)
    drawn = np.random.default_rng(seed)
    lines = []
    worth = []
    for row, prompt in enumerate(data.prompts):
        own = range(2) if all_asked else [int(drawn.integers(2))]
        for column in own:
            tags = {**data.metadata[row], "label": f"right-{row % 50}"}
            name = CANDIDATES[column]
            lines.append({"prompt": prompt, "metadata": tags, "custom_id": f"{row}-{name}"})
            worth.append((name, float(data.quality[row, column])))
    job = inn.submit(lines, gold="label")
    part = inn.part(job)
    inn.rows(
        "insert into results (part, job_id, seq, round, status, deployment, n, body, commit_id)"
        " select %s, %s, o - 1, 1, 'completed', d, 1, '{}', 1"
        " from unnest(%s::text[]) with ordinality u (d, o)",
        part, job, [name for name, _ in worth],
    )  # fmt: skip
    inn.rows(
        "insert into attempts (part, job_id, seq, n, round, deployment, status, cost_nusd,"
        " bound_nusd, latency_ms, commit_id)"
        " select %s, %s, o - 1, 1, 1, d, 'ok', case d when 'large' then 9000 else 900 end + o,"
        " 90000, 5, 1 from unnest(%s::text[]) with ordinality u (d, o)",
        part, job, [name for name, _ in worth],
    )  # fmt: skip
    inn.rows(
        "insert into scores (part, job_id, seq, round, scorer, value)"
        " select %s, %s, o - 1, 1, 'exact', v from unnest(%s::float8[]) with ordinality u (v, o)",
        part, job, [value for _, value in worth],
    )  # fmt: skip
    return job


def test_any_scored_job_teaches_and_what_is_no_better_is_not_promoted(inn, run) -> None:
    first = scored_job(inn, seed=1, rows=300)
    told = run("train", "--from", "results", "--name", "tickets", "--json").json
    assert (told["version"], told["promoted"], told["in_use"]) == (1, True, None)
    info = told["info"]
    assert info["jobs"] == [f"job_{first}"]
    assert info["candidates"] == sorted(CANDIDATES)
    assert info["scores"] == {"large": 300, "small": 300}
    assert info["prices"] == {"large": [10, 20], "small": [1, 2]}
    assert set(info["portrait"]["tags"]) == {"topic"}
    assert "label" not in json.dumps(info["portrait"])
    model = load(inn.ask(promoted, "tickets").body)
    data = judged(100, seed=5)
    said = model.predict(data.prompts, data.metadata)
    hard = np.array([row["topic"] == "proofs" for row in data.metadata])
    small = list(model.candidates).index("small")
    assert said.quality[hard, small].mean() < said.quality[~hard, small].mean() - 0.3
    # Few answers of another kind teach less than what is in use knows of them.
    second = scored_job(inn, seed=1, rows=60)
    said = run("learn", "--name", "tickets", "--job", str(second))
    assert "version 1 is better and stays in use" in said.err
    assert "those of the version in use by" in said.out
    shown = run("show", "tickets", "--json", "--job", str(first)).json
    assert shown["version"] == 1
    assert shown["drift"]["job"] == f"job_{first}"
    assert max(shown["drift"]["index"].values()) < 0.1
    other = inn.submit([{"prompt": "x" * 900, "metadata": {"topic": "new"}}] * 30)
    told = run("show", "tickets").out
    assert f"drift, job_{other} against the training" in told
    assert told.count("different: train again") == 2


def test_a_model_is_measured_on_the_results_of_its_route(inn, run) -> None:
    scored_job(inn, seed=1, rows=200)
    assert run("learn", "--name", "tickets").code == 0
    told = run("eval", "--from", "results", "--model", "tickets", "--json").json
    assert (told["rows"], told["held_back_folds"], told["estimated"]) == (200, True, False)
    assert told["intervals"]["aiq"][0] <= told["aiq"] <= told["intervals"]["aiq"][1]
    assert told["aiq_gain"] > 0
    drawn = run("report", "--model", "tickets", "--json").json
    assert (drawn["rows"], drawn["held_back_folds"]) == (200, True)
    none = run("eval", "--from", "results", "--model", "tickets", "--route", "smart")
    assert "two deployments or more" in none.err
    assert "goes by no router model" in run("eval", "--from", "results", "--route", "default").err


def test_answers_of_one_candidate_a_prompt_teach_too(inn, run) -> None:
    scored_job(inn, seed=2, rows=400, all_asked=False)
    told = run("learn", "--name", "tickets", "--since", "1d", "--json").json
    assert sum(told["info"]["scores"].values()) == 400
    assert told["promoted"]


def test_what_cannot_teach_is_told_with_what_would(inn, run) -> None:
    inn.submit(["a"])
    said = run("learn", "--name", "tickets", "--json")
    assert (said.code, said.error["type"]) == (2, "InputError")
    assert "two deployments or more" in said.error["message"]
    assert "--pilot 500" in said.error["message"]
    assert "job_1 has no scores" in run("learn", "--name", "x", "--job", "1").err
    assert "--from takes `results`" in run("train", "--from", "nowhere", "--name", "x").err
    assert "is no span" in run("learn", "--name", "x", "--since", "2026-01-01T00:00Z").err


def test_several_scorers_ask_which(inn, run) -> None:
    job = scored_job(inn, seed=3, rows=40)
    inn.put("scores", part=inn.part(job), job_id=job, seq=0, round=1, scorer="anna", value=0.5)
    assert "--scorer anna" in run("learn", "--name", "tickets").err
    assert run("learn", "--name", "tickets", "--scorer", "exact").code == 0
