"""Reports on the command line: of a job that a router sent on its way, and of a model."""

import json

import pytest

from db.router_models import promote, put_model
from routing.models.file import dump
from routing.training.choice import train_choice
from tests.routing.judged import judged
from tests.tasks.router.routed import PAID, routed


@pytest.fixture
def run(inn, program):
    def called(*args: str):
        return program(*args, BATCHYARD_DATABASE_URL=inn.database_url)

    called.folder = program.folder
    return called


def test_a_job_tells_what_its_routing_saved(inn, run) -> None:
    job = routed(inn)
    picture = run.folder / "saved.svg"
    told = run("router", "report", str(job), "--picture", str(picture), "--json").json
    saved = told["savings"]
    assert (saved["basis"], saved["quality_is"]) == ("predicted", "measured")
    assert (saved["best"], saved["cheapest"]) == ("large", "small")
    value, low, high = saved["saved_share"]
    assert low < value < high
    spent = sum(one["requests"] * one["usd_per_1k"] for one in told["candidates"]) / 1000
    assert saved["spend_usd"][0] == pytest.approx(spent)
    assert saved["saved_usd"][0] == pytest.approx(200 * PAID[1] - spent, rel=1e-3)
    assert saved["mix_gap"][1] > 0
    assert sum(one["share"] for one in told["candidates"]) == pytest.approx(1)
    assert sum(one["answers"] for one in told["calibration"]) == 200
    assert picture.read_text().startswith("<?xml")
    shown = run("router", "report", str(job)).out
    assert "PREDICTED by the router's model" in shown
    assert "against always large (the best)" in shown
    said = run("explain", str(job))
    assert "saved: $" in said.out
    assert f"more: batchyard router report {job}" in said.out
    assert run("explain", str(job), "--json").json["savings"]["best"] == "large"


def test_what_is_not_known_is_said(inn, run) -> None:
    job = routed(inn, scored=False)
    assert run("router", "report", str(job), "--json").json["savings"]["quality_is"] == "predicted"
    assert "predicted: there are no scores" in run("router", "report", str(job)).out
    assert "was scored by nobody" in run("router", "report", str(job), "--scorer", "anna").err
    plain = inn.submit(["a"])
    assert "Nothing is known" in run("router", "report", str(plain)).out
    assert run("router", "report", str(plain), "--json").json["savings"] is None
    assert "saved:" not in run("explain", str(plain)).out
    assert "a name that ends in" in run("router", "report", str(job), "--picture", "x.bmp").err
    assert "Of what?" in run("router", "report").err
    assert run("router", "report", "77", "--json").error["type"] == "NotFoundError"


def table(path, data) -> str:
    rows = [
        {"prompt": prompt, **data.metadata[row]}
        | dict(zip(data.candidates, data.quality[row].tolist(), strict=True))
        | {f"{n}|total_cost": float(data.cost[row, c]) for c, n in enumerate(data.candidates)}
        for row, prompt in enumerate(data.prompts)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_a_model_tells_its_curve_on_other_data_and_on_its_own_by_folds(inn, run) -> None:
    inn.submit(["a"])
    own = table(run.folder / "own.jsonl", judged(300))
    other = table(run.folder / "other.jsonl", judged(300, seed=4))
    model = str(run.folder / "tickets.router")
    train = run("router", "train", "-d", own, "-m", "topic", "-o", model, "-n", "tickets", "--json")
    assert train.json["promoted"]
    told = run("router", "report", "--model", model, "--data", other, "--json").json
    assert not told["held_back_folds"]
    first, last = told["curve"][0], told["curve"][-1]
    assert first["usd_per_1k"] < last["usd_per_1k"]
    assert max(one["gap"][0] for one in told["curve"]) > 0.05
    picture = run.folder / "curve.png"
    folds = run(
        "router", "report", "--model", "tickets", "--data", own, "--picture", str(picture), "--json"
    ).json
    assert folds["held_back_folds"]
    assert max(one["gap"][0] for one in folds["curve"]) > 0.05
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert "always" in run("router", "report", "--model", model, "--data", other).out.lower()
    assert "no router model" in run("router", "report", "--model", "nobody").err
    assert "no such file" in run("router", "report", "--model", "x.router").err


def test_a_model_is_shown_beside_what_its_answers_were_worth(inn, run) -> None:
    inn.submit(["a"])
    own = table(run.folder / "own.jsonl", judged(300))
    run("router", "train", "-d", own, "-m", "topic", "-n", "tickets")
    job = routed(inn, bias=0.3)
    scores = run("router", "show", "tickets", "--job", str(job), "--json").json["drift"]["scores"]
    assert (scores["model"], scores["answers"]) == ("tickets version 1", 200)
    assert scores["gap"][2] < 0
    told = run("router", "show", "tickets", "--job", str(job)).out
    assert "worse than foreseen: train again" in told


def test_a_model_that_is_kept_has_a_portrait_and_gives_way_only_to_a_better_one(inn, run) -> None:
    inn.submit(["a"])
    inn.ask(put_model, "tickets", "choice", dump(train_choice(judged(400), ["topic"])), {})
    inn.ask(promote, "tickets", 1)
    few = table(run.folder / "few.jsonl", judged(60, seed=1))
    for version, columns in enumerate(((), ("-m", "topic")), 2):
        kept = run("router", "train", "-d", few, *columns, "-n", "tickets", "--json").json
        assert (kept["version"], kept["promoted"]) == (version, False)
    assert set(kept["portrait"]["tags"]) == {"topic"}


def test_budgets_are_measured_by_what_they_truly_cost_and_give(run) -> None:
    own, other = (table(run.folder / f"{n}.jsonl", judged(200, seed=n)) for n in (0, 4))
    model = str(run.folder / "tickets.router")
    assert run("router", "train", "-d", own, "-m", "topic", "-o", model).code == 0
    measure = ("router", "eval", "-m", model, "-d", other)
    few, much = run(*measure, "--budget", "0.06", "--budget", "1", "--json").json["budgets"]
    assert few["budget"] == 0.06
    assert few["spend"] < much["spend"]
    assert few["quality"] <= much["quality"] + 0.02
    assert few["overspend"] == pytest.approx(max(0, few["spend"] / 0.06 - 1))
    for key in ("spend", "overspend", "quality"):
        low, high = few["intervals"][key]
        assert low <= few[key] <= high
    assert "within $0.06" in run(*measure, "--budget", "0.06").out
    assert "more is needed" in run(*measure, "--budget", "0.0000001").err
    assert "On what?" in run("router", "eval", "-m", model).err
    assert "--route and --scorer are for" in run(*measure, "--route", "smart").err
