"""One input line becomes one request, or one problem that says how to mend the line.

Two shapes are read: OpenAI batch lines (`custom_id, method, url, body`) and short lines
(`prompt` or `messages` beside any field of the body). Only what is checked is decoded; all
other fields of the body are kept as the bytes that came.
Codes: https://platform.openai.com/docs/api-reference/batch/object (`errors`).
"""

from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b as _blake2b
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Raw

from core.errors import LineProblem
from db.requests import Row
from tasks.intake.bad_line import BadLineError, read_text
from tasks.intake.wishes import (
    Fields,
    Longest,
    Resolve,
    WishReader,
    checked_metadata,
    take_metadata,
)

MAX_CUSTOM_ID = 512
URL = "/v1/chat/completions"
BATCH_FIELDS = ("custom_id", "method", "url", "body")
BODY_FIELDS = frozenset(
    "model messages prompt stream temperature top_p n stop seed tools tool_choice logprobs "
    "max_tokens max_completion_tokens response_format reasoning_effort fallbacks timeout".split()
)


class Message(msgspec.Struct):
    """As much of a chat message as is checked here."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Fields] | None = None


class BatchLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A batch line as most are, decoded and checked in one go. What does not fit takes the
    slower way, which knows what to say about it."""

    custom_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CUSTOM_ID)]
    method: Literal["POST"]
    url: Literal["/v1/chat/completions"]
    body: Fields


_decode_batch = msgspec.json.Decoder(BatchLine).decode
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_messages = msgspec.json.Decoder(list[Message]).decode
_decode_count = msgspec.json.Decoder(int).decode
_decode_number = msgspec.json.Decoder(float).decode
_encode = msgspec.json.Encoder().encode


class Intake:
    """Reads lines for one job. `target` is for lines that name no model; the others are as in
    `WishReader`."""

    def __init__(self, resolve: Resolve, target: str, longest: Longest) -> None:
        self._resolve = resolve
        self._wishes = WishReader(resolve, longest)
        self._default = target
        self._by_model: dict[bytes, str] = {}

    @property
    def targets(self) -> list[str]:
        """What the lines read so far have named."""
        return sorted(set(self._by_model.values()))

    def read(self, number: int, line: bytes) -> Row | LineProblem:
        """The request on this line, or what is wrong with it. Never raises for any bytes."""
        try:
            return self._read(number, line)
        except BadLineError as error:
            return LineProblem(number, *error.args)

    def _read(self, number: int, line: bytes) -> Row:
        if not line.isascii():
            _check_utf8(line)
        if b'"url"' not in line:
            return self._read_any(number, line)
        try:
            batch = _decode_batch(line)
        except (msgspec.DecodeError, RecursionError):
            return self._read_any(number, line)
        if "\x00" in batch.custom_id:
            raise _bad_custom_id()
        return self._row(batch.custom_id, batch.body, b"", "body.")

    def _read_any(self, number: int, line: bytes) -> Row:
        fields = _fields_of_line(line)
        given = fields.get("custom_id")
        custom_id = f"request-{number}" if given is None else _custom_id(given)
        written = fields.get("metadata")
        metadata = b"" if written is None else checked_metadata(written, "metadata")
        if "body" in fields or "url" in fields or "method" in fields:
            return self._row(custom_id, _batch_body(fields), metadata, "body.")
        return self._row(custom_id, _short_body(fields), metadata, "")

    def _row(self, custom_id: str, body: Fields, metadata: bytes, prefix: str) -> Row:
        _check_body(body, prefix)
        target = self._target(body.pop("model", None), prefix)
        body.pop("stream", None)
        wishes = b""
        if "fallbacks" in body or "timeout" in body:
            wishes = self._wishes.take(body, target, prefix)
        if "metadata" in body:
            inner = take_metadata(body, f"{prefix}metadata")
            metadata = metadata or inner
        text = _encode(body)
        prompt_hash = _blake2b(text, digest_size=16).digest()
        return Row(custom_id, target, text, metadata, prompt_hash, wishes)

    def _target(self, model: Raw | None, prefix: str) -> str:
        written = b"null" if model is None else bytes(model)
        target = self._by_model.get(written)
        if target is None:
            name = read_text(model, f"{prefix}model") if model and written != b"null" else ""
            target = name or self._default
            instead = self._resolve(target)
            if instead is not None and not name:
                raise BadLineError(
                    f"{prefix}model",
                    f"no model is named, and there is no route {target!r} for such requests",
                    f"Choose a route for the job (--route), name a model, or configure "
                    f"routes.{target}. {instead}",
                    "model_not_found",
                )
            if instead is not None:
                raise BadLineError(
                    f"{prefix}model",
                    f"{target!r} is no route, deployment or served model",
                    instead,
                    "model_not_found",
                )
            self._by_model[written] = target
        return target


def empty_row(problem: LineProblem, line: bytes | LineProblem, target: str) -> Row:
    """What stands for a bad line among the requests: its custom_id where it can be read."""
    custom_id = f"request-{problem.line}"
    if isinstance(line, bytes):
        with suppress(BadLineError, KeyError):
            _check_utf8(line)
            custom_id = _custom_id(_fields_of_line(line)["custom_id"])
    return Row(custom_id, target, b"{}", b"", b"")


def _fields_of_line(line: bytes) -> Fields:
    try:
        return _decode_fields(line)
    except msgspec.ValidationError as error:
        whole = "The file looks like one JSON array: write one object a line, without commas"
        fix = whole if line.strip() == b"[" else 'Write e.g. {"prompt": "…"}'
        raise BadLineError("", "not a JSON object", fix, "invalid_request") from error
    except (msgspec.DecodeError, RecursionError) as error:
        problem = "This line is not parseable as valid JSON"
        fix = "Write one JSON object a line"
        raise BadLineError("", problem, fix, "invalid_json_line") from error


def _check_utf8(line: bytes) -> None:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise BadLineError(
            "", f"not UTF-8 from byte {error.start}", "Save the file as UTF-8", "invalid_json_line"
        ) from error


def _batch_body(fields: Fields) -> Fields:
    for name in BATCH_FIELDS:
        if name not in fields:
            raise _missing(name, "A batch line has custom_id, method, url and body")
    if read_text(fields["method"], "method") != "POST":
        raise BadLineError("method", "not POST", 'Write "method": "POST"', "invalid_request")
    if read_text(fields["url"], "url") != URL:
        raise BadLineError("url", "not supported", f"The supported url is {URL}", "url_mismatch")
    if len(fields) > 4 and (misplaced := BODY_FIELDS & fields.keys()):
        name = min(misplaced)
        raise BadLineError(name, "stands beside the body", "Move it into body", "invalid_request")
    try:
        return _decode_fields(fields["body"])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadLineError(
            "body", "not an object", 'Write "body": {"messages": […]}', "invalid_request"
        ) from error


def _short_body(fields: Fields) -> Fields:
    body = dict(fields)
    body.pop("custom_id", None)
    body.pop("metadata", None)
    prompt = body.pop("prompt", None)
    if prompt is None:
        if "messages" not in body:
            raise _missing("prompt", 'Give "prompt" or "messages"')
        return body
    if "messages" in body:
        raise BadLineError(
            "prompt", "stands beside messages", "Give one of the two", "invalid_request"
        )
    if not read_text(prompt, "prompt"):
        raise BadLineError("prompt", "empty", "Write what to ask", "invalid_request")
    body["messages"] = Raw(b'[{"role":"user","content":' + bytes(prompt) + b"}]")
    return body


def _check_body(body: Fields, prefix: str) -> None:
    for name in body:
        check = CHECKS.get(name)
        if check is not None:
            check(body[name], prefix + name)
    if "messages" not in body:
        raise _missing(f"{prefix}messages", 'Give "messages": [{"role": "user", "content": "…"}]')


def _messages(value: Raw, field: str) -> None:
    try:
        messages = _decode_messages(value)
    except (msgspec.DecodeError, RecursionError) as error:
        what, _, where = str(error).partition(" - at `$")
        raise BadLineError(
            field + where.rstrip("`"),
            what,
            "A message is {role: system|developer|user|assistant|tool, content: text or parts}",
            "invalid_request",
        ) from error
    if not messages:
        raise BadLineError(field, "empty", "Give at least one message", "invalid_request")
    for index, message in enumerate(messages):
        if message.content is None and message.role not in ("assistant", "function"):
            raise _missing(f"{field}[{index}].content", "Give the message its text")


def _stream(value: Raw, field: str) -> None:
    if bytes(value) not in (b"false", b"null"):
        raise BadLineError(
            field, "a batch cannot stream", "Leave stream out", "streaming_unsupported"
        )


def _count(value: Raw, field: str) -> None:
    written = bytes(value)
    if written.isdigit() and written != b"0":
        return
    if _number(value, field, _decode_count, "a whole number") < 1:
        raise BadLineError(field, "below 1", "Give a whole number from 1 up", "invalid_request")


def _ratio(value: Raw, field: str) -> None:
    _number(value, field, _decode_number, "a number")


def _number(value: Raw, field: str, decode: Callable[[Raw], Any], what: str) -> Any:
    if bytes(value) == b"null":
        return 1
    try:
        return decode(value)
    except msgspec.DecodeError as error:
        raise BadLineError(
            field, f"not {what}", f"Give {what} without quotes", "invalid_request"
        ) from error


def _custom_id(value: Raw) -> str:
    text = read_text(value, "custom_id")
    if not text or len(text) > MAX_CUSTOM_ID or "\x00" in text:
        raise _bad_custom_id()
    return text


def _bad_custom_id() -> BadLineError:
    return BadLineError(
        "custom_id",
        "empty, too long or with a NUL in it",
        f"Give 1 to {MAX_CUSTOM_ID} characters, unique in the file",
        "invalid_request",
    )


def _missing(field: str, fix: str) -> BadLineError:
    return BadLineError(field, "missing", fix, "missing_required_parameter")


CHECKS: dict[str, Callable[[Raw, str], None]] = {
    "messages": _messages,
    "stream": _stream,
    "n": _count,
    "max_tokens": _count,
    "max_completion_tokens": _count,
    "temperature": _ratio,
    "top_p": _ratio,
}
