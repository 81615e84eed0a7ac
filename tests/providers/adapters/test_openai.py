"""Stored bodies in, calls out; answers in, replies or decisions out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.deployment import Deployment, Reply, Usage
from core.errors import ConfigError
from core.ports import Buckets
from providers.adapters import adapter_for
from providers.adapters.openai import CLIENT_ID_HEADER, REQUEST_ID_HEADER
from providers.errors import ErrorClass, ProviderError


def _deployment(**changes: Any) -> Deployment:
    values: dict[str, Any] = {
        "name": "small",
        "provider": "lab",
        "kind": "openai",
        "base_url": "http://127.0.0.1:9000/v1/",
        "model": 'my-"8b"',
        "timeout": 30.0,
        "api_key": "env:LAB_KEY",
        "buckets": Buckets("small", None, None, 64),
        "price": None,
        "context": None,
    }
    return Deployment(**{**values, **changes})


# Deeper than the decoder follows.
DEEP = b"[" * 100_000 + b"]" * 100_000
CLOUD: dict[str, Any] = {
    "name": "mini",
    "base_url": "https://api.openai.com/v1",
    "model": "gpt-5-mini",
}


def _sent(body: str | bytes, max_output: int = 256, **changes: Any) -> dict[str, Any]:
    raw = body.encode() if isinstance(body, str) else body
    deployment = _deployment(**changes)
    call = adapter_for(deployment.kind).build(
        deployment, None, raw, max_output=max_output, request_id="r1"
    )
    sent: dict[str, Any] = json.loads(call.body)
    return sent


def test_a_call_is_ready_to_be_sent() -> None:
    deployment = _deployment(headers={"X-Team": "nlp"})
    call = adapter_for("openai").build(
        deployment, "secret", b'{"messages":[]}', max_output=9, request_id="r1"
    )
    assert call.url == "http://127.0.0.1:9000/v1/chat/completions"
    assert call.timeout == 30.0
    assert call.headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "authorization": "Bearer secret",
        "x-team": "nlp",
    }


def test_another_key_takes_effect_at_once() -> None:
    deployment, adapter = _deployment(), adapter_for("openai")
    keys: list[str | None] = ["one", "two", None]
    calls = [adapter.build(deployment, key, b"{}", max_output=9, request_id="r1") for key in keys]
    sent = [call.headers.get("authorization") for call in calls]
    assert sent == ["Bearer one", "Bearer two", None]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "simulator"}, {REQUEST_ID_HEADER: "r7"}),
        ({"base_url": "https://api.openai.com/v1"}, {CLIENT_ID_HEADER: "r7"}),
        ({"kind": "openai"}, {}),
        ({"kind": "local"}, {}),
    ],
)
def test_only_those_who_use_it_are_told_the_request_id(
    changes: dict[str, Any], told: dict[str, str]
) -> None:
    deployment = _deployment(**changes)
    call = adapter_for(deployment.kind).build(
        deployment, None, b"{}", max_output=9, request_id="r7"
    )
    sent = {name: value for name, value in call.headers.items() if name.startswith("x-")}
    assert sent == told


@pytest.mark.parametrize("body", ["{}", "{ }", ' {"messages": []}', '{"messages": []}\n'])
def test_model_and_limit_are_spliced_in(body: str) -> None:
    sent = _sent(body)
    assert sent == {"model": 'my-"8b"', "max_tokens": 256, **json.loads(body)}


def test_openai_reads_the_newer_name() -> None:
    assert _sent("{}", **CLOUD) == {"model": "gpt-5-mini", "max_completion_tokens": 256}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_ones_own_holds_at_every_provider(name: str) -> None:
    body = json.dumps({"seed": 1, name: 17, "messages": [{"content": "é"}]})
    assert _sent(body) == {
        "model": 'my-"8b"', "max_tokens": 17, "seed": 1, "messages": [{"content": "é"}]
    }  # fmt: skip
    assert _sent(body, **CLOUD)["max_completion_tokens"] == 17
    assert "max_tokens" not in _sent(body, **CLOUD)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_null_is_no_limit(name: str) -> None:
    assert _sent(json.dumps({name: None, "seed": 1}))["max_tokens"] == 256


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
bodies = st.dictionaries(
    st.text().filter(lambda name: name not in ("model", "max_tokens", "max_completion_tokens")),
    json_values,
    max_size=5,
)


@given(bodies, st.none() | st.integers(1, 10**6), st.sampled_from([None, 0, 2]))
def test_whatever_is_stored_is_sent(
    body: dict[str, Any], limit: int | None, indent: int | None
) -> None:
    stored = body if limit is None else {**body, "max_completion_tokens": limit}
    sent = _sent(json.dumps(stored, indent=indent, ensure_ascii=False).encode(errors="replace"))
    assert sent.pop("model") == 'my-"8b"'
    assert sent.pop("max_tokens") == (limit or 256)
    assert sent == json.loads(json.dumps(body).encode(errors="replace"))


def _completion(**changes: Any) -> bytes:
    message = {"role": "assistant", "content": "hi", "refusal": None}
    completion = {
        "id": "chatcmpl-1",
        "model": "gpt-5-mini-2025-08-07",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    return json.dumps({**completion, **changes}).encode()


def _parsed(body: bytes, status: int = 200) -> Reply | ProviderError:
    return adapter_for("openai").parse(status, {"x-request-id": "req_9"}, body)


def _reply(body: bytes) -> Reply:
    reply = _parsed(body)
    assert isinstance(reply, Reply), reply
    return reply


def _error(body: bytes, status: int = 200) -> ProviderError:
    error = _parsed(body, status)
    assert isinstance(error, ProviderError), error
    return error


def test_a_reply_keeps_the_bytes() -> None:
    body = _completion()
    assert _reply(body) == Reply(
        200, body, "req_9", "gpt-5-mini-2025-08-07", Usage(10, 5), "stop", refused=False
    )


def test_the_completion_names_itself_where_no_header_does() -> None:
    reply = adapter_for("openai").parse(200, {}, _completion())
    assert isinstance(reply, Reply)
    assert reply.request_id == "chatcmpl-1"


def test_cached_and_reasoning_tokens_are_parts_of_the_whole() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 40},
    }
    assert _reply(_completion(usage=usage)).usage == Usage(100, 50, 64, 40)


def test_reasoning_left_out_of_the_count_is_billed_all_the_same() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "total_tokens": 150,
        "completion_tokens_details": {"reasoning_tokens": 40},
    }
    assert _reply(_completion(usage=usage)).usage == Usage(100, 50, 0, 40)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 3},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": "three", "completion_tokens": 1},
        {"prompt_tokens": -3, "completion_tokens": 1},
        "none",
    ],
)
def test_an_odd_usage_is_unknown_and_spoils_nothing(usage: Any) -> None:
    assert _reply(_completion(usage=usage)).usage is None


def test_details_of_null_are_none() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": None}
    assert _reply(_completion(usage=usage)).usage == Usage(1, 1)


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": ""}, "finish_reason": "content_filter"},
        {"message": {"content": None, "refusal": "I cannot"}, "finish_reason": "stop"},
    ],
)
def test_refusals_are_marked(choice: dict[str, Any]) -> None:
    assert _reply(_completion(choices=[choice])).refused
    answered = {"message": {"content": "yes"}, "finish_reason": "stop"}
    assert not _reply(_completion(choices=[choice, answered])).refused


def test_tool_calls_are_a_reply() -> None:
    message = {"content": None, "tool_calls": [{"id": "c1", "type": "function"}]}
    reply = _reply(_completion(choices=[{"message": message, "finish_reason": "tool_calls"}]))
    assert reply.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"<html>busy</html>",
        b"[]",
        b"{}",
        b"null",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": "hi"}]}',
        b'{"choices": [{"message": {"content": "cut of',
        b"\xff\xfe",
        _completion(choices=[{"message": {}, "finish_reason": "error"}]),
        b'{"choices": [], "usage": 3, "x": ' + DEEP + b"}",
        DEEP.replace(b"[", b'{"x":').replace(b"]", b"}"),
    ],
)
def test_a_success_without_sense_is_billed(body: bytes) -> None:
    error = _error(body)
    assert error.error_class is ErrorClass.MALFORMED
    assert error.billed


def test_an_error_of_a_few_words_within_a_200_is_told() -> None:
    error = _error(b'{"error": "the model is loading"}')
    assert error.error_class is ErrorClass.MALFORMED
    assert error.message == "the model is loading"


def test_an_error_that_is_nested_without_end_is_read_by_its_status() -> None:
    assert _error(DEEP, 500).error_class is ErrorClass.OVERLOADED


def test_a_malformed_answer_may_still_tell_its_usage() -> None:
    assert _error(_completion(choices=[])).usage == Usage(10, 5)


def test_a_gateways_error_within_a_200_is_the_other_providers() -> None:
    for code in (429, "429"):
        body = json.dumps({"error": {"code": code, "message": "slow down"}}).encode()
        assert _error(body).error_class is ErrorClass.THROTTLED
        assert _error(body).status == 429


@pytest.mark.parametrize("code", ["rate_limit", "4290", "٤٢٩", "200", 200, None])
def test_an_error_within_a_200_without_a_status_is_malformed(code: str | int | None) -> None:
    body = json.dumps({"error": {"code": code, "message": "oh"}}).encode()
    assert _error(body).error_class is ErrorClass.MALFORMED


def test_other_statuses_are_classified() -> None:
    assert _error(b"", 401).error_class is ErrorClass.CREDENTIAL_DEAD


@given(st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read(body: bytes) -> None:
    assert isinstance(_parsed(body), (Reply, ProviderError))


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ConfigError, match="cohere"):
        adapter_for("cohere")


LONG = "a\n\x00b" * 1_000_000


@pytest.mark.parametrize("headers", [{}, {"x-request-id": LONG}])
def test_whatever_a_provider_says_beside_its_answer_is_short(headers: dict[str, str]) -> None:
    choice = {"message": {"content": LONG}, "finish_reason": LONG}
    body = json.dumps({"id": LONG, "model": LONG, "choices": [choice]}).encode()
    reply = adapter_for("openai").parse(200, headers, body)
    assert isinstance(reply, Reply)
    assert reply.body == body
    for text in (reply.request_id, reply.model, reply.finish_reason):
        assert 0 < len(text) <= 200
        assert text.isprintable()


@pytest.mark.parametrize("status", [200, 400, 404, 429, 503])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": LONG, "code": LONG, "type": LONG, "innererror": {"code": LONG}}},
        {"error": LONG, "code": LONG, "type": LONG},
        {"detail": [{"msg": LONG}] * 3},
        LONG,
        {"error": {"code": 503, "message": LONG}},
    ],
)
def test_whatever_a_provider_says_of_its_error_is_short(status: int, body: object) -> None:
    headers = {"retry-after": "9" * 10_000, "location": LONG, "x-should-retry": LONG}
    error = adapter_for("openai").parse(status, headers, json.dumps(body).encode())
    assert isinstance(error, ProviderError)
    assert 0 < len(error.message) <= 500
    assert 0 < len(error.code) <= 200
    assert error.retry_after is None
