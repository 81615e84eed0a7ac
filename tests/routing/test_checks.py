import time

import pytest

from core.answer_schema import SchemaError, compiled
from core.checks import Checks
from routing.checks import Choice, Rejection, judge, judge_reading

SCHEMA = (
    '{"type":"object","properties":{"label":{"enum":["a","b"]},"n":{"type":"integer"}},'
    '"required":["label"]}'
)
STRICT = Checks("next", "retry", "fail")


def choice(text: str, *, tools: bool = False, ended: str = "stop") -> Choice:
    return Choice(text, tools, ended)


@pytest.mark.parametrize(
    ("one", "code", "policy"),
    [
        (choice('{"label": "a"}'), None, None),
        (choice(" \n"), "empty", "next"),
        (choice("", tools=True), None, None),
        (choice('{"label": "a"}', ended="length"), "truncated", "retry"),
        (choice('{"label": '), "not_json", "fail"),
        (choice('```json\n{"label": "a"}\n```'), "not_json", "fail"),
        (choice('{"label": "c"}'), "schema_mismatch", "fail"),
        (choice("[]"), "schema_mismatch", "fail"),
    ],
)
def test_what_does_not_pass_is_named_with_its_policy(one, code, policy) -> None:
    found = judge(STRICT, [one], SCHEMA)
    assert (found and found.code, found and found.policy) == (code, policy)


def test_what_nobody_asked_for_is_not_looked_at() -> None:
    bad = [choice(""), choice("x", ended="length"), choice("{")]
    assert judge(Checks(), bad, None) is None
    assert judge(Checks(invalid="next"), [choice("{}")], None) is None


@pytest.mark.parametrize(
    ("sent", "counted", "told"),
    [
        (5000, 2050, True),
        (5000, 4096, False),
        (5000, None, False),
        (499, 10, False),
        (500, 250, True),
        (0, 0, False),
    ],
)
def test_a_prompt_that_was_cut_shows_in_what_the_server_counted(sent, counted, told) -> None:
    found = judge_reading(Checks(unread="next"), sent, counted)
    assert (found is not None) == told
    if found is not None:
        assert (found.code, found.policy) == ("unread", "next")
    assert judge_reading(Checks(), sent, counted) is None


def test_every_choice_has_to_pass() -> None:
    found = judge(STRICT, [choice('{"label": "a"}'), choice('{"label": "z"}')], SCHEMA)
    assert found is not None


def test_a_message_says_where_and_does_not_quote_the_answer() -> None:
    found = judge(STRICT, [choice('{"label": "a", "n": "a secret"}')], SCHEMA)
    assert found is not None
    assert "$.n" in found.message
    assert "secret" not in found.message


@pytest.mark.parametrize(
    "schema",
    [
        '{"$ref": "http://127.0.0.1:1/x"}',
        '{"$ref": "file:///etc/hostname"}',
        '{"type": "nonsense"}',
        '{"pattern": "("}',
        "{",
    ],
)
def test_a_schema_that_cannot_be_used_fetches_nothing_and_fails_the_request(schema: str) -> None:
    with pytest.raises(SchemaError):
        compiled(schema)
    found = judge(STRICT, [choice("1")], schema)
    assert isinstance(found, Rejection)
    assert (found.code, found.policy) == ("bad_schema", "fail")


def test_a_pattern_cannot_run_away() -> None:
    began = time.monotonic()
    judge(STRICT, [choice('"' + "a" * 60 + '!"')], r'{"pattern": "^(?=a)(a+)+(b\\1)?$"}')
    assert time.monotonic() - began < 5
