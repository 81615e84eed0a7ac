"""An answer before it counts: what its plan's checks say of it."""

from dataclasses import replace

import msgspec

from core.answer_schema import SchemaError, compiled
from core.checks import REQUEST_SCHEMA, Checks
from core.deployment import Reply
from core.errors import InputError
from core.work import Entry
from providers.adapters.completion import read_answers
from providers.errors import ErrorClass, ProviderError, malformed
from providers.redact import clipped
from routing.checks import Choice, Rejection, judge, judge_reading


class _Schema(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw()


class _Format(msgspec.Struct):
    type: str = "text"
    json_schema: _Schema | None = None


class _Asked(msgspec.Struct):
    response_format: _Format | None = None


_decode = msgspec.json.Decoder(_Asked).decode


def checked(entry: Entry, reply: Reply) -> ProviderError | None:
    """Why the answer does not count, as a failed and billed call; None where it does. Only here
    is its text read, so one that is none shows here."""
    checks = entry.chunk.plan.checks
    if reply.refused:
        return None
    try:
        choices = [Choice(*one) for one in read_answers(reply.body)]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return malformed(reply.status, f"the answer's text cannot be read: {error}", reply.usage)
    counted = None if reply.usage is None else reply.usage.input_tokens
    sent = entry.chunk.size_of(entry.index).tokens
    found = judge_reading(checks, sent, counted) or _judged(checks, entry.body, choices)
    if found is None:
        return None
    return ProviderError(
        ErrorClass.REJECTED,
        reply.status,
        found.code,
        clipped(found.message),
        billed=True,
        usage=reply.usage,
        hopeless=found.policy == "next",
        final=found.policy == "fail",
    )


def _judged(checks: Checks, body: bytes, choices: list[Choice]) -> Rejection | None:
    schema = checks.schema
    if schema == REQUEST_SCHEMA and checks.invalid != "accept":
        wants_json, schema = _asked_for(body)
        if not wants_json:
            checks = replace(checks, invalid="accept")
    return judge(checks, choices, schema)


def _asked_for(body: bytes) -> tuple[bool, str | None]:
    """Whether the request asks for JSON, and the schema it asks for."""
    wanted = _decode(body).response_format
    if wanted is None or wanted.type == "text":
        return False, None
    schema = None if wanted.json_schema is None else bytes(wanted.json_schema.schema).decode()
    return True, schema or None


def check_schema(body: bytes) -> None:
    """Raises InputError where the schema that a request asks for cannot be used: before its
    answers are paid for."""
    try:
        _, schema = _asked_for(body)
        if schema is not None:
            compiled(schema)
    except (msgspec.DecodeError, SchemaError) as error:
        raise InputError(
            f"response_format: its schema cannot be used: {error}. Mend it, or take "
            "checks.json_schema: request off the route"
        ) from error
