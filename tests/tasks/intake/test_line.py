import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError, LineProblem
from db.requests import Row
from tasks.intake.line import Intake, empty_row
from tasks.intake.sources import read_lines
from tasks.intake.wishes import MOST_WISHES

KNOWN = {"default", "my-8b"}
BATCH: dict[str, Any] = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "my-8b", "messages": [{"role": "user", "content": "hi"}]},
}


def intake() -> Intake:
    return Intake(
        lambda name: None if name in KNOWN else "Known: default", "default", lambda names: 120.0
    )


def read(line: Any, number: int = 1) -> Row | LineProblem:
    return intake().read(number, line if isinstance(line, bytes) else json.dumps(line).encode())


def row(line: Any) -> Row:
    got = read(line)
    assert isinstance(got, Row), got
    return got


def batch(**changes: Any) -> dict[str, Any]:
    return {**BATCH, **changes}


def with_body(**changes: Any) -> dict[str, Any]:
    return batch(body={**BATCH["body"], **changes})


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in BATCH.items() if key != name}


MESSAGE = [{"role": "user", "content": "x"}]
BAD = [
    (b"{", "", "invalid_json_line"),
    (b'{"prompt": "\xff"}', "", "invalid_json_line"),
    (b'{"prompt": "a\x00"}', "", "invalid_json_line"),
    (b"[" * 100_000, "", "invalid_request"),
    (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "", "invalid_json_line"),
    (b"[1]", "", "invalid_request"),
    (b'"text"', "", "invalid_request"),
    ({}, "prompt", "missing_required_parameter"),
    ({"prompt": ""}, "prompt", "invalid_request"),
    ({"prompt": 5}, "prompt", "invalid_request"),
    ({"prompt": "a", "messages": MESSAGE}, "prompt", "invalid_request"),
    ({"prompt": "a", "custom_id": 5}, "custom_id", "invalid_request"),
    ({"prompt": "a", "custom_id": ""}, "custom_id", "invalid_request"),
    ({"prompt": "a", "custom_id": "x" * 600}, "custom_id", "invalid_request"),
    ({"prompt": "a", "custom_id": "a\x00"}, "custom_id", "invalid_request"),
    ({"prompt": "a", "metadata": "b"}, "metadata", "invalid_request"),
    ({"prompt": "a", "model": "gpt"}, "model", "model_not_found"),
    ({"prompt": "a", "model": 3}, "model", "invalid_request"),
    ({"prompt": "a", "n": 0}, "n", "invalid_request"),
    ({"prompt": "a", "max_tokens": "64"}, "max_tokens", "invalid_request"),
    ({"prompt": "a", "max_tokens": 1.5}, "max_tokens", "invalid_request"),
    ({"prompt": "a", "temperature": "hot"}, "temperature", "invalid_request"),
    ({"prompt": "a", "stream": True}, "stream", "streaming_unsupported"),
    ({"messages": []}, "messages", "invalid_request"),
    ({"messages": "hi"}, "messages", "invalid_request"),
    ({"messages": [{"content": "x"}]}, "messages[0]", "invalid_request"),
    ({"messages": [*MESSAGE, {"role": "bot"}]}, "messages[1].role", "invalid_request"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "invalid_request"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    (without("custom_id"), "custom_id", "missing_required_parameter"),
    (without("method"), "method", "missing_required_parameter"),
    (without("url"), "url", "missing_required_parameter"),
    (without("body"), "body", "missing_required_parameter"),
    (batch(method="GET"), "method", "invalid_request"),
    (batch(url="/v1/embeddings"), "url", "url_mismatch"),
    (batch(body="x"), "body", "invalid_request"),
    (batch(body={}), "body.messages", "missing_required_parameter"),
    (batch(temperature=0), "temperature", "invalid_request"),
    (batch(custom_id="a\x00"), "custom_id", "invalid_request"),
    (with_body(stream=True), "body.stream", "streaming_unsupported"),
    (with_body(model="gpt"), "body.model", "model_not_found"),
    (with_body(n="2"), "body.n", "invalid_request"),
    (with_body(messages=[]), "body.messages", "invalid_request"),
]


@pytest.mark.parametrize(("line", "field", "code"), BAD)
def test_every_fault_has_its_line_field_code_and_fix(line: Any, field: str, code: str) -> None:
    problem = read(line, 7)
    assert isinstance(problem, LineProblem)
    assert (problem.line, problem.field, problem.code) == (7, field, code)
    assert problem.problem
    assert problem.fix


def test_other_fields_keep_their_bytes() -> None:
    line = (
        b'{"messages":[ {"role":"user","content":"\\u00e9\\n"} ],"seed":12345678901234567890123,'
        b'"temperature":1.0e0,"x":{"b" : 1, "a":2},"model":"my-8b","stream":false,"n":null}'
    )
    got = row(line)
    assert got.target == "my-8b"
    for piece in (
        b'[ {"role":"user","content":"\\u00e9\\n"} ]',
        b"12345678901234567890123",
        b"1.0e0",
        b'{"b" : 1, "a":2}',
    ):
        assert piece in got.body
    assert b"stream" not in got.body
    assert b"model" not in got.body


def test_metadata_stands_beside_or_in_the_body() -> None:
    assert row(with_body(metadata={"k": "v"})).metadata == b'{"k": "v"}'
    assert row(batch(metadata={"k": 1})).metadata == b'{"k": 1}'
    short = row({"prompt": "a", "metadata": {"k": 1}})
    assert "metadata" not in json.loads(short.body)
    assert short.metadata == b'{"k": 1}'


def test_what_is_the_same_request_has_the_same_hash() -> None:
    one, two = row({"prompt": "a", "custom_id": "1"}), row({"prompt": "a", "custom_id": "2"})
    other = row({"prompt": "b"})
    assert one.prompt_hash == two.prompt_hash != other.prompt_hash
    assert len(one.prompt_hash) == 16


def test_escaped_and_foreign_texts_are_read() -> None:
    slashes = json.dumps(BATCH).replace("/", "\\/").encode()
    assert row(slashes).custom_id == "a"
    parts = [{"type": "text", "text": "ß"}]
    tools = [{"role": "assistant", "tool_calls": []}, {"role": "user", "content": parts}]
    assert json.loads(row({"messages": tools}).body) == {"messages": tools}
    assert row({"prompt": "a", "model": None}).target == "default"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
names = st.sampled_from(
    "custom_id method url body prompt messages model stream n max_tokens metadata role x".split()
)
near_misses = st.dictionaries(names, json_values).map(lambda value: json.dumps(value).encode())
broken = st.builds(
    lambda line, at, junk: line[: at % len(line)] + junk + line[at % len(line) :],
    st.sampled_from([json.dumps(BATCH).encode(), b'{"prompt":"a"}']),
    st.integers(0, 200),
    st.binary(max_size=3),
)


@given(st.binary() | near_misses | broken, st.integers(1, 10**9))
def test_any_line_is_a_request_or_a_problem(line: bytes, number: int) -> None:
    got = read(line, number)
    if isinstance(got, Row):
        assert json.loads(got.body)["messages"]
        assert got.target in KNOWN
        assert "\x00" not in got.custom_id
        assert b"\x00" not in got.body + got.metadata
        (got.body + got.metadata).decode()
    else:
        assert got.line == number
        stand_in = empty_row(got, line, "default")
        assert stand_in.custom_id
        assert "\x00" not in stand_in.custom_id
        stand_in.custom_id.encode()


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)))
def test_lines_are_numbered_as_an_editor_does(lines: list[bytes]) -> None:
    path_lines = [(n, line) for n, line in enumerate(lines, 1) if line and not line.isspace()]
    read_back = read_lines([*lines])
    assert [(n, line) for n, line in read_back] == path_lines


def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\n  \n" + b"x" * 50 + b"\nlast")
    got = list(read_lines(path, max_line=40))
    assert got[0] == (1, b"one\r\n")
    assert isinstance(got[1][1], LineProblem)
    assert (got[1][0], got[1][1].code) == (4, "line_too_long")
    assert got[2] == (5, b"last")


def test_standard_input_is_a_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"a\nb\n")
    with path.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert list(read_lines("-")) == [(1, b"a\n"), (2, b"b\n")]
        assert not file.closed


def test_items_are_prompts_dicts_or_json() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    items: list[Any] = ["hi", {"prompt": "x"}, b'{"prompt":"y"}', {"prompt": object()}, circle, 5]
    got = list(read_lines(items))
    assert got[0] == (1, b'{"prompt":"hi"}')
    assert got[2] == (3, b'{"prompt":"y"}')
    assert [isinstance(line, LineProblem) for _, line in got] == [False] * 3 + [True] * 2 + [False]
    assert isinstance(read(got[5][1]), LineProblem)


def test_a_folder_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError):
            list(read_lines(path))


def test_a_stream_without_a_descriptor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a"))
    with pytest.raises(InputError, match="standard input"):
        list(read_lines("-"))


def test_what_a_request_asks_of_the_yard_is_not_sent() -> None:
    for line in (
        {"prompt": "x", "fallbacks": ["my-8b", "default", "my-8b"], "timeout": 30},
        with_body(fallbacks=["my-8b", "default"], timeout=30.0),
    ):
        got = row(line)
        assert json.loads(got.wishes) == {"fallbacks": ["my-8b", "default"], "timeout": 30.0}
        assert "fallbacks" not in got.body.decode()
        assert "timeout" not in got.body.decode()
    assert row({"prompt": "x", "fallbacks": [], "timeout": None}).wishes == b""
    assert row({"prompt": "x"}).wishes == b""


def test_a_job_has_no_plan_of_its_own_for_every_request() -> None:
    reader = intake()
    for number in range(MOST_WISHES + 50):
        line = {"prompt": "x", "timeout": 1 + number / 100}
        got = reader.read(number + 1, json.dumps(line).encode())
        assert isinstance(got, Row) is (number < MOST_WISHES), got
    assert isinstance(got, LineProblem)
    assert got.field == "timeout"
    assert "1,000 different" in str(got)
    assert isinstance(reader.read(1, b'{"prompt": "x", "timeout": 1.5}'), Row)


def test_metadata_comes_back_and_is_sent_only_where_it_is_to_be_stored() -> None:
    kept = {"source": "web"}
    for line, sent in (
        (with_body(metadata=kept), False),
        (with_body(metadata=kept, store=False), False),
        (with_body(metadata=kept, store=True), True),
    ):
        got = row(line)
        assert json.loads(got.metadata) == kept
        assert ("metadata" in json.loads(got.body)) is sent
    both = row({**with_body(metadata={"a": 1}), "metadata": kept})
    assert json.loads(both.metadata) == kept
    assert "metadata" not in json.loads(both.body)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"fallbacks": "my-8b"}, "fallbacks", "not a list of names"),
        ({"fallbacks": ["my-8b", "my-8"]}, "fallbacks[1]", "'my-8' is no route"),
        ({"fallbacks": ["default"] * 17}, "fallbacks", "17 names"),
        ({"timeout": "1"}, "timeout", "not a number"),
        ({"timeout": True}, "timeout", "not a number"),
        ({"timeout": 0}, "timeout", "0 s"),
        ({"timeout": 121}, "timeout", "up to 120 s"),
        ({"metadata": [1]}, "metadata", "not an object"),
    ],
)
def test_bad_wishes_are_said(fields: dict[str, Any], field: str, words: str) -> None:
    for line, prefix in (({"prompt": "x", **fields}, ""), (with_body(**fields), "body.")):
        got = read(line)
        assert isinstance(got, LineProblem), got
        assert got.field == prefix + field
        assert words in str(got)


def test_without_a_default_route_a_request_that_names_no_model_says_what_to_do() -> None:
    lost = Intake(lambda name: "Known: my-8b", "default", lambda names: 120.0)
    problem = lost.read(1, b'{"prompt": "a"}')
    assert isinstance(problem, LineProblem)
    assert problem.problem == "no model is named, and there is no route 'default' for such requests"
    assert "(--route)" in problem.fix
    assert "routes.default" in problem.fix
    assert "Known: my-8b" in problem.fix
