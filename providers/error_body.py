"""Reads the error bodies of OpenAI-compatible servers, which agree on little.

Seen in the wild::

    {"error": {"message", "type", "param", "code"}}          OpenAI, Groq, newer vLLM
    {"object": "error", "message", "type", "code": 400}      older vLLM
    {"error": "text"}, {"detail": "text" | [{"msg"}]}        Ollama; FastAPI servers
    {"object": "error", "message": {"detail": [{"msg"}]}}    Mistral
    [{"error": {"message", "status", "details": [...]}}]     Google's OpenAI endpoint
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

_TEXT_CAP: Final = 2000
"""Characters of a message that are read: enough to classify it, and patterns cost little."""


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """`code`, `type` and `param` as sent, "" where missing. `retry_delay` (seconds) and
    `quota_of`, which tells whether a day's quota is used up or a minute's, are Google's."""

    message: str = ""
    code: str = ""
    type: str = ""
    inner_code: str = ""
    param: str = ""
    retry_delay: float | None = None
    quota_of: Literal["", "minute", "day"] = ""

    def any_of(self, codes: AbstractSet[str]) -> bool:
        """Whether one of the codes (lower case) was sent."""
        sent = (self.code, self.type, self.inner_code)
        return any(word.lower() in codes for word in sent if word)


def read_error_body(body: bytes) -> ErrorBody:
    """Whatever can be understood; never raises."""
    try:
        decoded: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorBody(message=_plain(body))
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]
    if not isinstance(decoded, Mapping):
        return ErrorBody(message=decoded[:_TEXT_CAP] if isinstance(decoded, str) else "")
    inner = decoded.get("error")
    if isinstance(inner, Mapping):
        return _from_fields(inner)
    if isinstance(inner, str):
        return ErrorBody(inner[:_TEXT_CAP], _word(decoded.get("code")), _word(decoded.get("type")))
    return _from_fields(decoded)


def _from_fields(fields: Mapping[str, object]) -> ErrorBody:
    message = fields.get("message")
    if not isinstance(message, str):
        inside = message if isinstance(message, Mapping) else fields
        message = _detail(inside.get("detail"))
    deeper = fields.get("innererror")
    return ErrorBody(
        message[:_TEXT_CAP],
        _word(fields.get("code")),
        _word(fields.get("type")) or _word(fields.get("status")),
        _word(deeper.get("code")) if isinstance(deeper, Mapping) else "",
        _word(fields.get("param")),
        _retry_delay(fields.get("details")),
        _quota_of(fields.get("details")),
    )


def _word(value: object) -> str:
    return value[:_TEXT_CAP] if isinstance(value, str) else ""


def _detail(detail: object) -> str:
    if isinstance(detail, str):
        return detail
    if isinstance(detail, list):
        texts = [str(item.get("msg", "")) for item in detail if isinstance(item, Mapping)]
        return "; ".join(text for text in texts if text)
    return ""


def _retry_delay(details: object) -> float | None:
    """`google.rpc.RetryInfo.retryDelay`, such as "34s"."""
    if not isinstance(details, list):
        return None
    for item in details:
        delay = item.get("retryDelay") if isinstance(item, Mapping) else None
        if not isinstance(delay, str):
            continue
        try:
            seconds = float(delay.removesuffix("s"))
        except ValueError:
            continue
        return seconds if 0 < seconds < float("inf") else None
    return None


def _quota_of(details: object) -> Literal["", "minute", "day"]:
    """Of what `google.rpc.QuotaFailure` names a limit: GenerateRequestsPerDayPer..., the longest
    where there are several."""
    named = [
        _word(violation.get("quotaId")).lower()
        for item in (details if isinstance(details, list) else ())
        if isinstance(item, Mapping) and isinstance(item.get("violations"), list)
        for violation in item["violations"]
        if isinstance(violation, Mapping)
    ]
    if any("perday" in name for name in named):
        return "day"
    return "minute" if any("perminute" in name for name in named) else ""


def _plain(body: bytes) -> str:
    text = body[:_TEXT_CAP].decode("utf-8", "replace").strip()
    return "" if text.startswith("<") else text
