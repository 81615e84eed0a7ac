"""Answers, usage and bills, over the wire."""

import json

import pytest

CHOICES = ["a", "b", "c", "d"]
KEY = {f"q{n}": {"answer": CHOICES[n % 4], "choices": CHOICES} for n in range(400)}


def text_of(response) -> str:
    return response.json()["choices"][0]["message"]["content"]


def test_accuracy_is_met_and_wrong_answers_come_from_the_choices(start):
    sim = start({"models": {"mini": {"accuracy": 0.75}, "best": {}}, "answers": KEY})
    given = {name: text_of(sim.call(request_id=name)) for name in KEY}
    right = sum(given[name] == KEY[name]["answer"] for name in KEY)
    assert right == pytest.approx(300, abs=35)
    assert set(given.values()) == set(CHOICES)
    assert all(text_of(sim.call(request_id=n, model="best")) == e["answer"] for n, e in KEY.items())


def test_an_answer_stays_the_same_over_attempts_servers_and_concurrency(start):
    profile = {"seed": 3, "models": {"mini": {"accuracy": 0.5}}, "answers": KEY}
    one, two = start(profile), start(profile)
    names = list(KEY)[:100]
    first = {name: text_of(one.call(request_id=name)) for name in names}
    again = {name: text_of(one.call(request_id=name)) for name in names}
    other = {name: text_of(two.call(request_id=name)) for name in reversed(names)}
    assert first == again == other
    reseeded = start({**profile, "seed": 4})
    assert {name: text_of(reseeded.call(request_id=name)) for name in names} != first


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("what?", {"request_id": "q1"}),
        ("what?", {"metadata": {"custom_id": "q1"}}),
        ("what?", {"user": "q1"}),
        ("what? [#q1]", {}),
        ("what? [#q1] \n", {"request_id": "job-7:55", "user": "team-a"}),
    ],
)
def test_a_request_is_known_by_header_metadata_user_or_mark(start, text, fields):
    sim = start({"models": {"mini": {}}, "answers": {"q1": "the answer"}})
    assert text_of(sim.call(text, **fields)) == "the answer"


def test_the_header_names_the_request_in_stats(start):
    sim = start({"answers": {"q1": "x"}})
    sim.call("hm [#q1]", request_id="job-7:1", metadata={"custom_id": "row 1"})
    assert list(sim.stats()["ids"]) == ["job-7:1"]


def test_choices_default_to_all_answers_of_the_key(start):
    answers = {f"q{n}": f"label {n % 3}" for n in range(60)}
    sim = start({"models": {"mini": {"accuracy": 0}}, "answers": answers})
    given = {name: text_of(sim.call(request_id=name)) for name in answers}
    assert all(given[name] != answers[name] for name in answers)
    assert set(given.values()) == {"label 0", "label 1", "label 2"}


def test_made_up_text_differs_by_prompt_and_has_the_stated_length(start):
    sim = start({"models": {"mini": {"output_tokens": 2000}}})
    one, two = sim.call("first"), sim.call("second")
    assert text_of(one) == text_of(sim.call("first"))
    assert text_of(one) != text_of(two)
    assert one.json()["usage"]["completion_tokens"] == 2000
    assert len(text_of(one)) == 8000


def test_prompt_tokens_are_a_quarter_of_the_bytes_and_a_little(start):
    sim = start()
    usage = sim.call("é" * 50).json()["usage"]
    assert usage["prompt_tokens"] == 25 + 3 + 3
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    parts = [{"type": "text", "text": "abcd"}, {"type": "image_url", "image_url": {"url": "x"}}]
    body = {"messages": [{"role": "user", "content": parts}]}
    assert sim.call(**body).json()["usage"]["prompt_tokens"] == 1 + 3 + 3 + 85


def test_max_tokens_cuts_the_answer_and_says_so(start):
    sim = start({"answers": {"q1": "a long answer of many words"}})
    whole = sim.call(request_id="q1").json()
    assert whole["choices"][0]["finish_reason"] == "stop"
    for name in ("max_tokens", "max_completion_tokens"):
        cut = sim.call(request_id="q1", **{name: 2}).json()
        assert cut["choices"][0]["message"]["content"] == "a long a"
        assert cut["choices"][0]["finish_reason"] == "length"
        assert cut["usage"]["completion_tokens"] == 2


def test_reasoning_is_billed_and_cut_first_by_the_limit(start):
    sim = start({"models": {"mini": {"reasoning_tokens": 10}}, "answers": {"q1": "yes"}})
    usage = sim.call(request_id="q1").json()["usage"]
    assert usage["completion_tokens"] == 11
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 10
    cut = sim.call(request_id="q1", max_tokens=4).json()
    assert cut["choices"][0]["message"]["content"] == ""
    assert cut["usage"]["completion_tokens"] == 4


def test_n_choices_each_draw_for_themselves(start):
    sim = start({"models": {"mini": {"accuracy": 0.5}}, "answers": KEY})
    body = sim.call(request_id="q1", n=40).json()
    texts = [choice["message"]["content"] for choice in body["choices"]]
    assert [choice["index"] for choice in body["choices"]] == list(range(40))
    assert len(set(texts)) > 1
    assert body["usage"]["completion_tokens"] == 40


def test_a_one_property_schema_is_kept(start):
    sim = start({"answers": {"q1": "no"}})
    schema = {"type": "object", "properties": {"label": {"type": "string", "enum": ["yes", "no"]}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    known = sim.call(request_id="q1", response_format=wanted)
    assert json.loads(text_of(known)) == {"label": "no"}
    unknown = sim.call(request_id="q2", response_format=wanted)
    assert json.loads(text_of(unknown))["label"] in ("yes", "no")


def test_a_bill_is_exact_and_rounded_up_once(start):
    price = {"input_per_mtok": "0.0375", "output_per_mtok": "0.15"}
    sim = start({"models": {"mini": {"price": price}}, "answers": {"q1": "yes"}})
    usage = sim.call("hello", request_id="q1").json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (8, 1)
    assert sim.stats()["billed_nusd"] == 450
    assert sim.stats()["billed_usd"] == "0.00000045"
    sim.config(models={"mini": {"price": {"input_per_mtok": "0.00001"}}})
    sim.call("hello", request_id="q1")
    assert sim.stats()["billed_nusd"] == 450 + 151


def test_a_recorded_answer_is_replayed_with_its_usage_and_cost(start):
    replay = {"text": "recorded", "prompt_tokens": 111, "completion_tokens": 22, "cost": "0.0042"}
    answers = {"q1": {"answer": "plain", "by_model": {"big": replay}}}
    sim = start({"answers": answers})
    body = sim.call(request_id="q1", model="big").json()
    assert body["choices"][0]["message"]["content"] == "recorded"
    assert body["usage"]["prompt_tokens"] == 111
    assert body["usage"]["completion_tokens"] == 22
    assert body["usage"]["cost"] == 0.0042
    assert sim.stats()["models"]["big"]["billed_nusd"] == 4_200_000
    assert text_of(sim.call(request_id="q1", model="mini")) == "plain"
    cut = sim.call(request_id="q1", model="big", max_tokens=11).json()
    assert cut["usage"]["completion_tokens"] == 11
    assert cut["choices"][0]["finish_reason"] == "length"
