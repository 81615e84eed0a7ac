"""OpenAI's wire format: bodies, errors and headers."""

import re

import pytest

from providers.simulator.openai_head import duration

KEY = "sk-sim-0123456789abcdefghij"


def test_a_completion_has_the_shape_clients_expect(start):
    sim = start({"models": {"mini": {}}, "seed": 5})
    response = sim.call("hello", request_id="q1")
    body = response.json()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert re.fullmatch(r"req_[0-9a-f]{32}", response.headers["x-request-id"])
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["model"] == "mini"
    assert isinstance(body["created"], int)
    assert body["system_fingerprint"]
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert {"prompt_tokens_details", "completion_tokens_details"} <= body["usage"].keys()
    assert "x-ratelimit-limit-requests" not in response.headers


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"model": None}, "model", "Missing required parameter: 'model'"),
        ({"messages": None}, "messages", "Missing required parameter: 'messages'"),
        ({"messages": []}, "messages", "empty"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "int"),
        ({"messages": [{"role": "usr"}]}, "messages[0].role", "usr"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "Missing"),
        ({"model": ""}, "model", "model"),
        ({"stream": True}, "stream", "does not stream"),
        ({"n": 0}, "n", "between"),
        ({"max_tokens": 0}, "max_tokens", "below 1"),
        ({"max_tokens": "7"}, "max_tokens", "int"),
    ],
)
def test_a_bad_body_is_refused_with_openais_envelope(start, change, param, words):
    sim = start()
    body = {"model": "mini", "messages": [{"role": "user", "content": "x"}], **change}
    body = {name: value for name, value in body.items() if value is not None}
    response = sim.client.post("/v1/chat/completions", json=body)
    error = response.json()["error"]
    assert response.status_code == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert words in error["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[1]", b'"x"', b"\xff\xfe", b'{"model":"\xff","messages":[]}']
)
def test_a_body_that_is_no_json_object_is_refused(start, body):
    response = start().client.post("/v1/chat/completions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_odd_unicode_does_not_break_a_call(start):
    sim = start({"answers": {"q1": 'line\u2028 " \\ \U0001f600'}})
    body = b'{"model":"m\\ud83d\\ude00","messages":[{"role":"user","content":"\\u0000\\n [#q1]"}]}'
    response = sim.client.post("/v1/chat/completions", content=body)
    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"] == 'line\u2028 " \\ \U0001f600'


def test_schemas_of_any_shape_are_survived(start):
    sim = start()
    for schema in (
        1,
        {},
        {"json_schema": 1},
        {"json_schema": {"schema": {"properties": {"a": 1}}}},
    ):
        wanted = schema if isinstance(schema, dict) else {"json_schema": schema}
        assert sim.call(response_format=wanted).status_code == 200
    assert sim.call(response_format=7).status_code == 400


def test_an_unknown_model_is_404_and_the_named_ones_are_listed(start):
    sim = start({"models": {"mini": {}, "big": {}}})
    response = sim.call(model="gone")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
    listed = sim.client.get("/v1/models").json()
    assert [one["id"] for one in listed["data"]] == ["mini", "big"]


def test_a_wrong_key_is_401_and_its_ends_are_echoed(start):
    sim = start({"credential": KEY})
    assert sim.call().status_code == 401
    assert sim.call().json()["error"]["code"] is None
    wrong = "sk-live-WRONGWRONGWRONGWRONG-tail"
    sim.client.headers["authorization"] = f"Bearer {wrong}"
    error = sim.call().json()["error"]
    assert error["code"] == "invalid_api_key"
    assert "sk-live-" in error["message"]
    assert "tail" in error["message"]
    assert wrong not in error["message"]
    assert sim.client.get("/v1/models").status_code == 401
    # The key is looked at before the body is.
    assert sim.client.post("/v1/chat/completions", content=b"{").status_code == 401
    sim.client.headers["authorization"] = f"Bearer {KEY}"
    assert sim.call().status_code == 200
    assert sim.stats()["billed_calls"] == 1


def test_of_several_keys_one_may_be_revoked(start):
    sim = start({"credential": [KEY, "sk-sim-another"]})
    sim.client.headers["authorization"] = "Bearer sk-sim-another"
    assert sim.call().status_code == 200
    sim.client.post("/config", json={"credential": [KEY]})
    assert sim.call().status_code == 401
    sim.client.post("/config", json={"credential": []})
    sim.client.headers["authorization"] = f"Bearer {KEY}"
    assert sim.call().status_code == 401


def test_a_filtered_prompt_is_a_400_and_unbilled(start):
    sim = start({"faults": {"p_refused": 1}})
    response = sim.call()
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "content_filter"
    assert sim.stats()["billed_calls"] == 0


def test_an_answer_that_declines_says_so_and_is_billed(start):
    sim = start({"faults": {"p_declined": 1}})
    response = sim.call()
    assert response.status_code == 200
    message = response.json()["choices"][0]["message"]
    assert message["content"] is None
    assert "can't help" in message["refusal"]
    assert sim.stats()["billed_calls"] == 1


def test_too_long_a_prompt_is_refused_with_its_code(start):
    sim = start({"models": {"mini": {"context": 100}}})
    assert sim.call("x" * 200).status_code == 200
    for response in (sim.call("x" * 500), sim.call("x" * 200, max_tokens=80)):
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "context_length_exceeded"
        assert "100 tokens" in response.json()["error"]["message"]


def test_a_spent_quota_is_a_429_of_its_own(start):
    response = start({"insufficient_quota": True}).call()
    assert response.status_code == 429
    assert response.json()["error"]["code"] == "insufficient_quota"
    assert "retry-after" not in response.headers
    response = start({"insufficient_quota": True, "quota_reset_s": 90}).call()
    assert response.headers["retry-after"] == "90"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"), (0.0121, "13ms"), (0.5, "500ms"), (1, "1s"), (1.25, "1.25s"),
        (59.9999, "1m0s"), (60, "1m0s"), (366.5, "6m6.5s"), (3600, "1h0m0s"),
    ],
)  # fmt: skip
def test_durations_are_written_as_openai_does(seconds, text):
    assert duration(seconds) == text
