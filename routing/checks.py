"""Whether an answer counts, by its route's checks. Pure."""

from dataclasses import dataclass
from typing import Final

from core.answer_schema import SchemaError, misfit
from core.checks import Checks, Policy

LEAST_TOKENS: Final = 500
"""Of a prompt: no server's window is so small that a shorter one is cut."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of an answer's choices, as far as checks look at it."""

    text: str
    calls_tools: bool
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an answer does not count, and what the route wants done about it."""

    code: str
    message: str
    policy: Policy


def judge(checks: Checks, choices: list[Choice], schema: str | None) -> Rejection | None:
    """The first thing that is wrong with any of the choices; None where all pass.
    `schema` is the JSON text that they have to fit, None where JSON is enough."""
    for choice in choices:
        found = _judge_one(checks, choice, schema)
        if found is not None:
            return found
    return None


def judge_reading(checks: Checks, sent: int, counted: int | None) -> Rejection | None:
    """Whether the server read the prompt: some cut one that is longer than their window and
    say nothing, so that it shows in the input tokens that they `counted`, None where they did
    not say. `sent` are those that were counted here; what other tokenizers make of a text is
    never as little as half of them."""
    if checks.unread == "accept" or counted is None:
        return None
    if sent < LEAST_TOKENS or 2 * counted > sent:
        return None
    message = (
        f"the server read {counted:,} tokens of about {sent:,}. Give it a longer window (for "
        "Ollama: OLLAMA_CONTEXT_LENGTH), or the deployment a `context`"
    )
    return Rejection("unread", message, checks.unread)


def _judge_one(checks: Checks, choice: Choice, schema: str | None) -> Rejection | None:
    if checks.truncated != "accept" and choice.finish_reason == "length":
        message = "the answer was cut off at its output limit. Raise max_tokens or max_output"
        return Rejection("truncated", message, checks.truncated)
    silent = not choice.text.strip()
    if silent and choice.calls_tools:
        return None
    if checks.empty != "accept" and silent:
        return Rejection("empty", "the answer is empty", checks.empty)
    if checks.invalid == "accept":
        return None
    try:
        wrong = misfit(choice.text, schema)
    except SchemaError as error:
        return Rejection("bad_schema", f"its schema cannot be used: {error}", "fail")
    return None if wrong is None else Rejection(*wrong, checks.invalid)
