"""A trained model tells what requests are about, where they are routed."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigError
from core.intents import IntentFile
from core.settings import Settings
from db.audit import audit
from db.jobs import job_view
from db.router_models import promote, put_model
from db.stories import request_story
from routing.models.file import dump
from routing.training.examples import Examples, IntentData
from routing.training.intent import train_intents
from tasks.clarify import clarify, to_clarify
from tasks.context import Context
from tasks.route import route
from tasks.submit import SubmitOptions, submit
from tests.conftest import SETTINGS
from tests.routing.spoken import STRANGE, spoken

EITHER = "cannot find my card, send money to"
PENGUINS = STRANGE[1]
PROMPTS = ["hi lost my card since monday", PENGUINS, EITHER, "well what is the balance of"]
FILE = {
    "lost_card": {"description": "You have lost your card", "route": "cards"},
    "transfer": {"description": "You want to send money"},
    "balance": {"actions": ["answer", "clarify"]},
}


@pytest.fixture(scope="module")
def trained() -> tuple[bytes, dict[str, Any]]:
    file = IntentFile.model_validate({"intents": FILE})
    data = IntentData(Examples(*spoken(20)), Examples(*spoken(20, 1), STRANGE), file)
    model = train_intents(data)
    # Nothing is ambiguous where intents are as clear as here: this one is less sure of itself.
    spread = np.linspace(0, 0.8, 60).astype(np.float32)
    careful = replace(model, temperature=1.5, threshold=0.0, nonconformity=spread)
    return dump(careful), dict(careful.info)


def settings(**intents: Any) -> Settings:
    data = SETTINGS.model_dump(mode="json", exclude_unset=True)
    data["routes"]["bank"] = {"candidates": ["free"], "intents": {"model": "bank", **intents}}
    data["routes"]["cards"] = {"candidates": ["small"]}
    return Settings.model_validate(data)


def within(inn: Any, config: Settings, work: Any) -> Any:
    return inn.run(lambda ctx: work(replace(ctx, settings=config)))


def keep(inn: Any, trained: tuple[bytes, dict[str, Any]]) -> None:
    version = inn.ask(put_model, "bank", "intent", *trained)
    inn.ask(promote, "bank", version)


def routed(inn: Any, config: Settings, lines: list[Any]) -> int:
    async def work(ctx: Context) -> int:
        job_id = await submit(ctx, lines, SubmitOptions(route="bank"))
        await route(ctx, job_id)
        return job_id

    return int(within(inn, config, work))


def results(inn: Any, job_id: int) -> dict[int, str]:
    return dict(inn.rows("select seq, status from results where job_id = %s", job_id))


def planned(inn: Any, job_id: int) -> dict[int, str]:
    return dict(
        inn.rows(
            "select unnest(seqs), deployment from chunks where job_id = %s and kind = 'call'",
            job_id,
        )
    )


def test_each_request_goes_where_its_intent_goes_or_ends_without_a_call(
    inn: Any, trained: tuple[bytes, dict[str, Any]]
) -> None:
    keep(inn, trained)
    job_id = routed(inn, settings(), PROMPTS)
    assert planned(inn, job_id) == {0: "small", 3: "free"}
    assert results(inn, job_id) == {1: "out_of_scope", 2: "needs_clarification"}
    view = inn.ask(job_view, job_id)
    assert (view.counts["out_of_scope"], view.counts["needs_clarification"]) == (1, 1)
    assert view.cost_nusd == 0
    story = inn.ask(request_story, job_id, "request-1")
    assert (story.plans[0].intent, story.plans[0].reasons) == (
        "lost_card",
        {"intents": "bank version 1, level 0.05"},
    )
    assert 0.5 < story.plans[0].probability <= 1


def test_the_question_names_the_intents_and_an_answer_settles_it(
    inn: Any, trained: tuple[bytes, dict[str, Any]]
) -> None:
    keep(inn, trained)
    config = settings()
    job_id = routed(inn, config, PROMPTS)
    [asked] = inn.ask(to_clarify, job_id)
    assert {one.intent for one in asked.options} == {"lost_card", "transfer"}
    assert "You have lost your card" in asked.question
    line = {"custom_id": asked.custom_id, "answer": "lost_card"}

    async def answer(ctx: Context) -> int | None:
        done = await clarify(ctx, 1, job_id, [line])
        assert done.job_id is not None
        await route(ctx, done.job_id)
        return done.job_id

    linked = within(inn, config, answer)
    assert planned(inn, linked) == {0: "small"}


def test_a_route_may_take_what_is_out_of_scope_or_ambiguous(
    inn: Any, trained: tuple[bytes, dict[str, Any]]
) -> None:
    keep(inn, trained)
    job_id = routed(inn, settings(out_of_scope="cards", ambiguous="answer"), PROMPTS)
    assert planned(inn, job_id) == {0: "small", 1: "small", 2: "free", 3: "free"}
    assert results(inn, job_id) == {}


def test_another_version_holds_from_its_promotion_on(
    inn: Any, trained: tuple[bytes, dict[str, Any]]
) -> None:
    keep(inn, trained)
    config = settings()
    texts, labels = spoken(10)
    strict = train_intents(IntentData(Examples(texts, labels)))
    body = dump(replace(strict, threshold=-1e9))

    async def twice(ctx: Context) -> list[int]:
        first = await submit(ctx, PROMPTS[:1], SubmitOptions(route="bank"))
        await route(ctx, first)
        async with ctx.pool.connection() as conn:
            info = dict(strict.info)
            version = await put_model(conn, 1, "bank", "intent", body, info)
            await promote(conn, 1, "bank", version)
        second = await submit(ctx, PROMPTS[:1], SubmitOptions(route="bank"))
        await route(ctx, second)
        return [first, second]

    first, second = within(inn, config, twice)
    assert (results(inn, first), results(inn, second)) == ({}, {0: "out_of_scope"})


def test_what_is_missing_is_told_at_submit(inn: Any, trained: tuple[bytes, dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match=r"no promoted model.*--task intent"):
        routed(inn, settings(), PROMPTS)
    keep(inn, trained)
    data = settings().model_dump(mode="json", exclude_unset=True)
    del data["routes"]["cards"]
    with pytest.raises(ConfigError, match="sends intents to cards, which is not under routes"):
        routed(inn, Settings.model_validate(data), PROMPTS)


@pytest.mark.parametrize(
    ("intents", "said"),
    [
        ({}, "needs one of model and llm"),
        ({"model": "bank", "llm": "small"}, "needs one of model and llm"),
        ({"llm": "small"}, "llm is asked by it"),
        ({"model": "bank", "json_schema": False}, "counts for nothing here"),
    ],
)
def test_a_configuration_says_who_tells(intents: dict[str, Any], said: str) -> None:
    data = SETTINGS.model_dump(mode="json", exclude_unset=True)
    data["routes"]["bank"] = {"candidates": ["free"], "intents": intents}
    with pytest.raises(ValueError, match=said):
        Settings.model_validate(data)


def test_the_books_of_a_job_that_called_nobody_are_right(
    inn: Any, trained: tuple[bytes, dict[str, Any]]
) -> None:
    keep(inn, trained)
    job_id = routed(inn, settings(), [PENGUINS, "penguins joke"])
    assert results(inn, job_id) == dict.fromkeys((0, 1), "out_of_scope")
    [(error,), _] = inn.rows("select error from results where job_id = %s order by seq", job_id)
    assert json.loads(error)["code"] == "out_of_scope"
    assert inn.ask(audit, job_id).violations == ()
