"""A model is asked what requests are about, and they are routed by what it says."""

import json
from dataclasses import replace
from typing import Any

import pytest

from core.errors import ConfigError
from core.settings import Settings
from db.finish import end_job, unfinished_jobs
from db.jobs import job_view
from db.stories import request_story
from tasks.context import Context
from tasks.lifecycle import cancel
from tasks.meters import RouterMeters
from tasks.route import route
from tasks.submit import SubmitOptions, submit
from tasks.unrung import unrung
from tests.conftest import SETTINGS

FILE = {"intents": {"card": {"route": "cards"}, "loan": {}}}
PROMPTS = ["a card", "a loan", "the weather", "something", "who knows"]
SAID = ["card", "loan", "out_of_scope", "unclear", None]


def settings(**intents: Any) -> Settings:
    data = SETTINGS.model_dump(mode="json")
    asked = {"llm": "small", "file": FILE, **intents}
    data["deployments"]["dear"] = data["deployments"]["small"]
    data["routes"]["bank"] = {"candidates": ["free"], "intents": asked}
    data["routes"]["cards"] = {"candidates": ["small"]}
    return Settings.model_validate(data)


def within(inn: Any, config: Settings, work: Any) -> Any:
    return inn.run(lambda ctx: work(replace(ctx, settings=config)))


def start(inn: Any, config: Settings, **options: Any) -> tuple[int, int]:
    """A job whose model has been asked; its id, and that of the linked job."""

    async def work(ctx: Context) -> int:
        job_id = await submit(ctx, PROMPTS, SubmitOptions(route="bank", **options))
        await route(ctx, job_id)
        return job_id

    job_id = within(inn, config, work)
    [(linked,)] = inn.rows("select id from jobs where parent_id = %s", job_id)
    return job_id, linked


def answer(inn: Any, config: Settings, job_id: int, linked: int, **more: Any) -> None:
    """The model has said what it says; what it was asked for last, it has not."""
    for seq, said in enumerate(SAID):
        if said is not None:
            text = json.dumps({"intent": said, "alternatives": ["card", "loan"]})
            inn.put(
                "results",
                part=inn.part(linked),
                job_id=linked,
                seq=seq,
                round=1,
                commit_id=0,
                status="completed",
                body=json.dumps({"choices": [{"message": {"content": text}}]}),
            )

    async def work(ctx: Context) -> None:
        async with ctx.pool.connection() as conn:
            await conn.execute("update chunks set status = 'done' where job_id = %s", (linked,))
            assert await end_job(conn, linked) is not None
        await route(replace(ctx, **more), job_id)

    within(inn, config, work)


def results(inn: Any, job_id: int) -> dict[int, str]:
    return dict(inn.rows("select seq, status from results where job_id = %s", job_id))


def planned(inn: Any, job_id: int) -> dict[int, str]:
    return dict(
        inn.rows(
            "select unnest(seqs), deployment from chunks where job_id = %s and kind = 'call'",
            job_id,
        )
    )


def test_the_model_is_asked_first_and_the_job_says_so(inn) -> None:
    config = settings()
    job_id, linked = start(inn, config)
    rows = inn.rows("select seq, custom_id, target, body from requests where job_id = %s", linked)
    assert [row[:3] for row in rows[:2]] == [(0, "intent-0", "small"), (1, "intent-1", "small")]
    assert [json.loads(row[3])["messages"][1]["content"] for row in rows] == PROMPTS
    view = inn.ask(job_view, job_id)
    assert f"5 requests wait for job_{linked} (intent)" in view.why
    assert (view.linked[0].kind, view.linked[0].total) == ("intent", 5)
    assert planned(inn, job_id) == {}
    within(inn, config, lambda ctx: route(ctx, job_id))
    assert inn.rows("select total from jobs where id = %s", linked) == [(5,)], "asked once"


def test_requests_go_where_their_intents_go(inn) -> None:
    config = settings()
    job_id, linked = start(inn, config)
    meters = RouterMeters()
    answer(inn, config, job_id, linked, router=meters)
    assert meters.uncalled == {("bank", "out_of_scope"): 1, ("bank", "needs_clarification"): 1}
    assert planned(inn, job_id) == {0: "small", 1: "free", 4: "free"}
    assert results(inn, job_id) == {2: "out_of_scope", 3: "needs_clarification"}
    [(error,)] = inn.rows("select error from results where job_id = %s and seq = 3", job_id)
    assert [one["intent"] for one in json.loads(error)["options"]] == ["card", "loan"]
    [(seqs, intents)] = inn.rows("select seqs, intents from routes where job_id = %s", job_id)
    assert dict(zip(seqs, intents, strict=True)) == {0: "card", 1: "loan", 4: "unknown"}
    story = inn.ask(request_story, job_id, "request-1")
    assert story.plans[0].intent == "card"
    [asked] = story.elsewhere
    assert (asked.kind, asked.job_id, asked.custom_id) == ("intent", linked, "intent-0")
    view = inn.ask(job_view, job_id)
    assert view.counts == {
        "completed": 0,
        "failed": 0,
        "out_of_scope": 1,
        "needs_clarification": 1,
        "open": 3,
    }


def test_what_is_out_of_scope_or_ambiguous_may_be_answered_all_the_same(inn) -> None:
    config = settings(out_of_scope="cards", ambiguous="answer")
    job_id, linked = start(inn, config)
    answer(inn, config, job_id, linked)
    assert planned(inn, job_id) == {0: "small", 1: "free", 2: "small", 3: "free", 4: "free"}
    assert results(inn, job_id) == {}


def test_where_the_model_cannot_be_asked_requests_are_answered_as_they_are(inn) -> None:
    config = settings()
    job_id, linked = start(inn, config)

    async def stop(ctx: Context) -> None:
        await cancel(ctx, 1, linked)
        async with ctx.pool.connection() as conn:
            await end_job(conn, linked)
        await route(ctx, job_id)

    within(inn, config, stop)
    assert planned(inn, job_id) == dict.fromkeys(range(5), "free")


def test_a_chunk_goes_on_as_soon_as_its_own_intents_are_told(inn) -> None:
    config = settings()

    async def asked(ctx: Context) -> int:
        lines = ({"prompt": f"a card {n}"} for n in range(2005))
        job_id = await submit(ctx, lines, SubmitOptions(route="bank"))
        await route(ctx, job_id)
        return job_id

    job_id = within(inn, config, asked)
    linked = job_id + 1
    said = json.dumps({"choices": [{"message": {"content": '{"intent": "card"}'}}]})
    told = (
        "insert into results (part, job_id, seq, round, status, body, commit_id)"
        " select %s, %s, s, 1, 'completed', %s, 0 from generate_series(%s::int, %s) s"
    )
    part = inn.part(job_id)
    inn.rows(told, part, linked, said, 0, 1998)
    inn.bell.rung.clear()
    within(inn, config, unrung)
    assert ("route", (job_id,)) not in inn.bell.rung
    inn.rows(told, part, linked, said, 1999, 1999)
    within(inn, config, unrung)
    assert ("route", (job_id,)) in inn.bell.rung
    within(inn, config, lambda ctx: route(ctx, job_id))
    assert planned(inn, job_id) == dict.fromkeys(range(2000), "small")
    inn.bell.rung.clear()
    within(inn, config, unrung)
    assert ("route", (job_id,)) not in inn.bell.rung, "five are not told yet"
    assert f"5 requests wait for job_{linked} (intent)" in inn.ask(job_view, job_id).why


def test_it_takes_questions_until_all_are_asked(inn) -> None:
    config = settings()

    async def work(ctx: Context) -> tuple[int, Any, list[int]]:
        lines = ({"prompt": f"{n}"} for n in range(2001))
        job_id = await submit(ctx, lines, SubmitOptions(route="bank"))
        async with ctx.pool.connection() as conn:
            await conn.execute("update chunks set status = 'leased' where size = 2000")
            await route(ctx, job_id)
            await conn.execute("update chunks set status = 'done' where job_id = %s", (job_id + 1,))
            await conn.execute("update chunks set status = 'ready' where size = 2000")
            early = await end_job(conn, job_id + 1)
            found = await unfinished_jobs(conn)
            await route(ctx, job_id)
        return job_id, early, found

    job_id, early, found = within(inn, config, work)
    assert early is None, "the first 2,000 may have questions"
    assert found == []
    assert inn.rows("select total from jobs where id = %s", job_id + 1) == [(2001,)]
    links = "select count(distinct seq), count(distinct linked_seq) from links"
    assert inn.rows(links) == [(2001, 2001)]


def test_a_budget_has_to_know_what_asking_costs(inn) -> None:
    config = settings(llm="free")
    config.routes["bank"].candidates[:] = ["small"]
    with pytest.raises(ConfigError, match="nobody knows the price of 'free'"):
        start(inn, config, budget_nusd=10**9)
