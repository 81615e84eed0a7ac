"""Scores on the command line."""

import json

import pytest


@pytest.fixture
def job(inn, program):
    """A job of four requests, of which three are answered, and the program on its database."""
    number = inn.submit([{"prompt": str(n), "custom_id": f"m-{n}"} for n in range(4)])
    for seq, who in enumerate(["small", "small", "large"]):
        inn.put(
            "results",
            part=inn.part(number),
            job_id=number,
            seq=seq,
            round=1,
            status="completed",
            deployment=who,
            body="{}",
            commit_id=1,
        )

    def run(*args: str, **given: str):
        return program("scores", *args, BATCHYARD_DATABASE_URL=inn.database_url, **given)

    return number, run


def test_scores_are_taken_in_and_summed_up_by_who_answered(job, tmp_path) -> None:
    number, run = job
    file = tmp_path / "judged.csv"
    file.write_text("custom_id,score,scorer\nm-0,1,\nm-1,0.5,\nm-2,0,\nm-2,1,anna\n")
    assert run("import", str(number), str(file), "--json").json["scores"] == 4
    told = run(str(number), "--json").json["scores"]
    assert [(one["scorer"], one["deployment"], one["count"], one["mean"]) for one in told] == [
        ("anna", None, 1, 1),
        ("anna", "large", 1, 1),
        ("imported", None, 3, 0.5),
        ("imported", "large", 1, 0),
        ("imported", "small", 2, 0.75),
    ]
    assert all(one["low"] <= one["mean"] <= one["high"] for one in told)
    lines = json.dumps({"custom_id": "m-2", "score": 1}) + "\n"
    assert run("import", str(number), "-", stdin=lines).code == 0
    assert "0.833" in run("show", str(number)).out


def test_a_job_and_its_results_show_their_scores(inn, program, job) -> None:
    number, run = job

    def plain(*args: str):
        return program(*args, str(number), BATCHYARD_DATABASE_URL=inn.database_url)

    assert all("scores" not in line for line in plain("results").out.splitlines())
    lines = [{"custom_id": "m-0", "score": 0.25}, {"custom_id": "m-0", "score": 1, "scorer": "b"}]
    given = "".join(json.dumps(line) + "\n" for line in lines)
    assert run("import", str(number), "-", stdin=given).code == 0
    told = [json.loads(line)["batchyard"] for line in plain("results").out.splitlines()]
    assert [one.get("scores") for one in told] == [{"b": 1, "imported": 0.25}, None, None]
    assert [one["count"] for one in plain("job", "--json").json["scores"]] == [1, 1, 1, 1]
    assert "imported: 0.250 (" in plain("job").out
    assert "imported: 0.250 (" in plain("explain").out


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_file_with_bad_lines_is_refused_whole(job, tmp_path, ending: str) -> None:
    number, run = job
    rows = [("m-0", 1), ("m-9", 1), ("m-3", 1), ("m-1", 1.5)]
    file = tmp_path / f"judged.{ending}"
    if ending == "csv":
        file.write_text("custom_id,score\n" + "".join(f"{name},{s}\n" for name, s in rows))
    elif ending == "jsonl":
        file.write_text("".join(json.dumps({"custom_id": n, "score": s}) + "\n" for n, s in rows))
    else:
        pa = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = {"custom_id": [n for n, _ in rows], "score": [float(s) for _, s in rows]}
        parquet.write_table(pa.table(columns), file)
    said = run("import", str(number), str(file))
    assert said.code == 2
    first = 2 if ending == "csv" else 1
    assert f"line {first + 1}, custom_id: the job has no 'm-9'" in said.err
    assert f"line {first + 2}, custom_id: 'm-3' has no answer" in said.err
    assert f"line {first + 3}, score: " in said.err
    assert run(str(number), "--json").json["scores"] == []
    assert "has no scores" in run(str(number)).err


def test_a_job_of_another_project_has_no_scores_here(job) -> None:
    _, run = job
    assert run("77", "--json").error["type"] == "NotFoundError"
