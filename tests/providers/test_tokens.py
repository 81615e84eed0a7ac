"""Estimates never exceed bounds, and neither is cheated."""

import json
from typing import Any

import pytest
import toktok
from hypothesis import given
from hypothesis import strategies as st

from core.deployment import Deployment
from core.errors import InputError
from core.ports import Buckets
from providers.tokens import (
    count_many,
    estimate_input,
    has_exact_tokens,
)


def _body(**fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _chat(content: Any, **fields: Any) -> bytes:
    return _body(messages=[{"role": "user", "content": content}], **fields)


def bound_input(body: bytes, exact: bool) -> int | None:
    return count_many([body])[0].size(500).input_bound(exact)


def output_limit(body: bytes, default: int) -> int:
    return count_many([body])[0].size(default).output


texts = st.text(max_size=200)
parts = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, texts),
    st.builds(
        lambda detail: {"type": "image_url", "image_url": {"url": "https://x/y", **detail}},
        st.sampled_from([{}, {"detail": "low"}, {"detail": "high"}]),
    ),
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={
        "content": texts | st.none() | st.lists(parts, max_size=4),
        "name": texts,
        "tool_calls": st.lists(st.dictionaries(st.just("function"), texts), max_size=2),
    },
)
tools = st.lists(
    st.builds(
        lambda name: {"type": "function", "function": {"name": name, "parameters": {}}}, texts
    ),
    max_size=3,
)
bodies = st.fixed_dictionaries(
    {"messages": st.lists(messages, max_size=5)},
    optional={"tools": tools, "response_format": st.dictionaries(texts, texts, max_size=2)},
).map(lambda fields: _body(**fields))


@given(bodies)
def test_no_estimate_exceeds_its_bound(body: bytes) -> None:
    estimate = estimate_input(body)
    for exact in (True, False):
        bound = bound_input(body, exact)
        assert bound is not None
        assert estimate <= bound


@given(st.lists(bodies, max_size=6))
def test_many_are_counted_as_each(many: list[bytes]) -> None:
    assert [one.tokens for one in count_many(many)] == [estimate_input(body) for body in many]


@given(texts, texts)
def test_more_text_never_lowers_the_bound(one: str, more: str) -> None:
    shorter, longer = _chat(one), _chat(one + more)
    assert (bound_input(shorter, False) or 0) <= (bound_input(longer, False) or 0)


@given(texts)
def test_escapes_change_nothing(text: str) -> None:
    escaped = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    assert estimate_input(escaped) == estimate_input(_chat(text))


def test_a_known_count() -> None:
    text = "The quick brown fox jumps over the lazy dog. Ünïcode 漢字 🐎"
    counted = toktok.batch_count([text], "o200k_base")[0]
    assert estimate_input(_chat(text)) == counted + 4 + 3


def test_texts_in_parts_count_as_texts() -> None:
    assert estimate_input(_chat([{"type": "text", "text": "hello"}])) == estimate_input(
        _chat("hello")
    )


def test_tools_and_schemas_are_counted() -> None:
    tool = {"type": "function", "function": {"name": "lookup", "description": "finds " * 50}}
    plain = estimate_input(_chat("hi"))
    assert estimate_input(_chat("hi", tools=[tool])) > plain + 50
    assert estimate_input(_chat("hi", functions=[tool["function"]])) > plain + 50
    assert estimate_input(_chat("hi", response_format={"schema": "x " * 50})) > plain + 50


def test_an_image_is_bounded_by_the_dearest() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert (bound_input(_chat([image]), True) or 0) > 48_000


@pytest.mark.parametrize(
    "body",
    [
        _chat([{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]),
        _chat([{"type": "file", "file": {"file_id": "file-1"}}]),
        _chat([{"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}]),
        _chat("hi", tools=[{"type": "web_search"}]),
        _chat("hi", web_search_options={}),
        _chat("hi", plugins=[{"id": "web"}]),
        _chat("hi", prediction={"type": "content", "content": "x"}),
        _chat("hi", audio={"voice": "alloy", "format": "wav"}),
    ],
)
def test_what_only_the_provider_can_tell_has_no_bound(body: bytes) -> None:
    assert bound_input(body, True) is None
    assert bound_input(body, False) is None


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, 500),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_tokens": None}, 500),
        ({"n": 3}, 1500),
        ({"n": 3, "max_tokens": 7}, 21),
    ],
)
def test_output_is_limited_over_all_choices(fields: dict[str, Any], limit: int) -> None:
    assert output_limit(_chat("hi", **fields), 500) == limit


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "not a chat request"),
        (b"[]", "not a chat request"),
        (b"{", "not a chat request"),
        (b'{"messages": "hi"}', r"\$\.messages"),
        (b'{"messages": [{"content": 5}]}', r"\$\.messages\[0\]\.content"),
        (b'{"max_tokens": 0}', r"\$\.max_tokens"),
        (b'{"max_tokens": 1.5}', r"\$\.max_tokens"),
        (b'{"n": "two"}', r"\$\.n"),
        (b'{"tools": {}}', "not a chat request"),
        (b'{"messages": [{"content": "\\ud800"}]}', "not a chat request"),
        (b'{"messages": [{"content": "\xff"}]}', "not a chat request"),
    ],
)
def test_a_body_that_is_no_chat_request_is_refused(body: bytes, where: str) -> None:
    with pytest.raises(InputError, match=where):
        estimate_input(body)
    with pytest.raises(InputError, match=where):
        output_limit(body, 5)


@pytest.mark.parametrize(
    ("base_url", "model", "exact"),
    [
        ("https://api.openai.com/v1", "gpt-5-mini", True),
        ("https://api.openai.com/v1", "o4-mini", True),
        ("https://openrouter.ai/api/v1", "openai/gpt-4.1", True),
        ("https://openrouter.ai/api/v1", "openai/gpt-oss-20b", False),
        ("https://openrouter.ai/api/v1", "gpt-5", False),
        ("https://api.openai.com/v1", "gpt-3.5-turbo", False),
        ("http://127.0.0.1:8000/v1", "gpt-5-mini", False),
        ("https://api.openai.com.example.org/v1", "gpt-5-mini", False),
    ],
)
def test_counts_are_exact_for_openais_models_only(base_url: str, model: str, exact: bool) -> None:
    deployment = Deployment(
        name="d",
        provider="p",
        kind="openai",
        base_url=base_url,
        model=model,
        timeout=1.0,
        api_key=None,
        buckets=Buckets("d", None, None, None),
        price=None,
        context=None,
    )
    assert has_exact_tokens(deployment) is exact
