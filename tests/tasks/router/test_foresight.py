"""Routing real jobs by real models into ordered plans."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from core.money import Price
from core.settings import Settings
from db.router_models import promote, put_model
from db.stories import request_story
from routing.batch.packing import unpack, unpack_usd
from routing.models.file import dump
from routing.training.acceptance import train_acceptance
from routing.training.choice import train_choice
from tasks.context import Context
from tasks.route import route
from tasks.submit import SubmitOptions, submit
from tests.conftest import DEPLOYMENTS, deployment
from tests.routing.answered import answered
from tests.routing.judged import judged

PLAIN = train_choice(judged(600), ["topic"])
MODEL = replace(PLAIN, acceptance=train_acceptance(answered(200)))
LINES = judged(300, seed=1)
LARGE = replace(deployment("large", "my-70b", Price(Decimal(10), Decimal(20))), context=4000)
YARD = {"small": DEPLOYMENTS["small"], "large": LARGE}


def settings(choose: str, **router: Any) -> Settings:
    return Settings.model_validate(
        {
            "providers": {"lab": {"base_url": "http://127.0.0.1:1/v1"}},
            "deployments": {name: {"provider": "lab", "model": name} for name in YARD},
            "routes": {
                "smart": {
                    "candidates": ["small", "large"],
                    "choose": choose,
                    "router": {"model": "tickets", **router},
                    "max_output": 100,
                }
            },
        }
    )


@pytest.fixture
def model(inn: Any) -> None:
    """A promoted model of small and large."""
    inn.submit(["a"])
    judges = {"acceptance": {"asked": ["small"], "strong": "large"}}
    info = {**MODEL.info, "candidates": list(MODEL.candidates), **judges}
    inn.ask(put_model, "tickets", "choice", dump(MODEL), info)
    inn.ask(promote, "tickets", 1)


def routed(inn: Any, config: Settings, lines: Any = None) -> int:
    given = lines or [
        {"prompt": prompt, "metadata": tags, "model": "smart"}
        for prompt, tags in zip(LINES.prompts, LINES.metadata, strict=True)
    ]

    async def story(ctx: Context) -> int:
        own = replace(ctx, settings=config, deployments=YARD)
        job = await submit(own, given, SubmitOptions())
        await route(own, job)
        return job

    return int(inn.run(story))


def firsts(inn: Any, job: int) -> dict[int, str]:
    return dict(
        inn.rows(
            "select u.seq, p.body->'candidates'->>0 from chunks c join plans p on p.id = c.plan_id,"
            " unnest(c.seqs) as u (seq) where c.job_id = %s and c.kind <> 'route'",
            job,
        )
    )


@pytest.mark.usefixtures("model")
def test_what_is_easy_goes_to_the_cheap_one_and_what_is_hard_to_the_good_one(inn: Any) -> None:
    job = routed(inn, settings("threshold", quality=0.9))
    first = firsts(inn, job)
    assert len(first) == 300
    hard = [tags["topic"] == "proofs" for tags in LINES.metadata]
    right = sum((first[seq] == "large") == one for seq, one in enumerate(hard))
    assert right > 250
    plans = inn.rows("select count(distinct plan_id) from chunks where job_id = %s", job)
    assert plans == [(2,)]
    ((version, names, reasons),) = inn.rows(
        "select model_version, candidates, reasons from routes where job_id = %s", job
    )
    assert (version, names) == ("tickets version 1", ["small", "large"])
    assert "threshold by tickets version 1, a dollar weighs" in reasons["smart"]


@pytest.mark.usefixtures("model")
def test_what_was_predicted_is_kept_with_the_job(inn: Any) -> None:
    job = routed(inn, settings("fixed", explore=0.2))
    ((seqs, quality, cost, propensity),) = inn.rows(
        "select seqs, quality, cost, propensity from routes where job_id = %s", job
    )
    assert seqs == list(range(300))
    said = MODEL.predict(LINES.prompts, LINES.metadata)
    assert unpack(quality, 2) == pytest.approx(said.quality, abs=1e-3)
    costs = unpack_usd(cost, 2)
    assert costs.shape == (300, 2)
    assert (costs > 0).all()
    story = inn.ask(request_story, job, "request-3")
    told = story.plans[0].predicted
    assert [one.candidate for one in told] == ["small", "large"]
    assert told[0].quality == pytest.approx(float(said.quality[2, 0]), abs=1e-3)
    assert told[1].usd_per_1k == pytest.approx(float(costs[2, 1]) * 1000, rel=1e-2)
    assert story.plans[0].propensity == pytest.approx(propensity[2])
    first = firsts(inn, job)
    lots = np.array([first[seq] == "small" for seq in range(300)])
    told = np.array(propensity)
    assert told[lots] == pytest.approx(0.1)
    assert told[~lots] == pytest.approx(0.9)
    assert 15 < lots.sum() < 50


@pytest.mark.usefixtures("model")
def test_optimize_leaves_chunks_that_wait_for_the_whole_job(inn: Any) -> None:
    job = routed(inn, settings("optimize", quality=0.9, explore=0.1))
    kinds = inn.rows(
        "select kind, status, deployment, sum(size)::int from chunks where job_id = %s"
        " and kind <> 'route' group by 1, 2, 3 order by 4 desc",
        job,
    )
    assert kinds[0][:3] == ("plan", "planned", "")
    assert sum(row[3] for row in kinds) == 300
    assert {row[0] for row in kinds[1:]} == {"call"}
    assert 10 < sum(row[3] for row in kinds[1:]) < 60


@pytest.mark.usefixtures("model")
def test_a_window_that_is_too_small_is_never_predicted_for(inn: Any) -> None:
    long = [{"prompt": "prove the theorem " * 4000, "model": "smart"}, {"prompt": "x"}]
    long[1]["model"] = "smart"
    job = routed(inn, settings("threshold", quality=1), long)
    assert firsts(inn, job) == {0: "small", 1: "large"}
    ((quality,),) = inn.rows("select quality from routes where job_id = %s", job)
    assert np.isnan(unpack(quality, 2)).tolist() == [[False, True], [False, False]]


@pytest.mark.usefixtures("model")
def test_requests_of_other_targets_have_no_predictions(inn: Any) -> None:
    lines = [{"prompt": "plain", "model": "small"}, {"prompt": "asked", "model": "smart"}]
    job = routed(inn, settings("cascade"), lines)
    ((quality, propensity),) = inn.rows(
        "select quality, propensity from routes where job_id = %s", job
    )
    assert np.isnan(unpack(quality, 2)).all(axis=1).tolist() == [True, False]
    assert propensity == [1, 1]
    bodies = inn.rows(
        "select body->>'choose', body->'candidates', body->'cascade'->'model' from plans order by 1"
    )
    ((row,),) = inn.rows("select id from router_models where promoted")
    assert bodies == [("cascade", ["small", "large"], row), ("ordered", ["small"], None)]


@pytest.mark.usefixtures("model")
def test_an_aim_says_from_which_gain_on_the_strong_one_is_asked(inn: Any) -> None:
    def least(**aim: float) -> float:
        routed(inn, settings("cascade", **aim), [{"prompt": "asked", "model": "smart"}])
        last = "select body->'cascade'->'least' from plans order by id desc limit 1"
        return float(inn.rows(last)[0][0])

    assert least(quality=0.95) < least(quality=0.8)
    assert least(usd_per_1k=0.08) < least(usd_per_1k=0.02)


@pytest.mark.usefixtures("model")
def test_where_nothing_judges_answers_the_strong_one_is_asked_alone(inn: Any) -> None:
    async def story(ctx: Context) -> list[int]:
        own = replace(ctx, settings=settings("cascade"), deployments=YARD)
        jobs = []
        for lost in (True, False):
            async with ctx.pool.connection() as conn:
                await promote(conn, 1, "tickets", 1)
                jobs.append(await submit(own, lines, SubmitOptions()))
                # Since the submit there is no model any more, or one without a cascade.
                if lost:
                    await conn.execute(b"update router_models set promoted = false")
                else:
                    version = await put_model(conn, 1, "tickets", "choice", dump(PLAIN), {})
                    await promote(conn, 1, "tickets", version)
            await route(own, jobs[-1])
        return jobs

    lines = [{"prompt": "a", "model": "smart"}]
    for job in inn.run(story):
        assert firsts(inn, job) == {0: "large"}
    assert inn.rows("select distinct body->'candidates', body->'cascade' from plans") == [
        (["large"], None)
    ]


@pytest.mark.usefixtures("model")
def test_a_model_that_is_gone_leaves_the_routes_own_order(inn: Any) -> None:
    async def story(ctx: Context) -> int:
        own = replace(ctx, settings=settings("threshold", quality=0.5), deployments=YARD)
        job = await submit(own, [{"prompt": "a", "model": "smart"}], SubmitOptions())
        async with ctx.pool.connection() as conn:
            await conn.execute(b"update router_models set promoted = false")
        await route(own, job)
        return job

    job = int(inn.run(story))
    assert firsts(inn, job) == {0: "small"}
    assert inn.rows("select quality from routes where job_id = %s", job) == [(None,)]


@pytest.mark.usefixtures("model")
def test_a_promotion_is_seen_by_the_next_job(inn: Any) -> None:
    turned = replace(MODEL, base=MODEL.base[::-1].copy(), strength=0.0)

    async def story(ctx: Context) -> list[str]:
        found = []
        async with ctx.pool.connection() as conn:
            for version in (1, 2, 1):
                if version == 2:
                    await put_model(conn, 1, "tickets", "choice", dump(turned), {})
                await promote(conn, 1, "tickets", version)
                found.append(str(await ctx.models.promoted(conn, 1, "tickets")))
        return found

    assert inn.run(story) == [f"tickets version {one}" for one in (1, 2, 1)]
