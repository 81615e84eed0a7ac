"""Reads the error bodies of OpenAI-compatible servers, which agree on little.

Seen in the wild::

    {"error": {"message", "type", "param", "code"}}          OpenAI, Groq, newer vLLM
    {"object": "error", "message", "type", "code": 400}      older vLLM
    {"error": "text"}, {"detail": "text" | [{"msg"}]}        Ollama; FastAPI servers
    [{"error": {"message", "status", "details": [...]}}]     Google's OpenAI endpoint
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import msgspec

_TEXT_CAP: Final = 2000


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """`code` and `type` as sent, "" where missing. `retry_delay` (seconds) and `daily`, which
    says that a day's quota is used up, are Google's."""

    message: str = ""
    code: str = ""
    type: str = ""
    inner_code: str = ""
    retry_delay: float | None = None
    daily: bool = False

    def any_of(self, codes: AbstractSet[str]) -> bool:
        """Whether one of the codes (lower case) was sent."""
        sent = (self.code, self.type, self.inner_code)
        return any(word.lower() in codes for word in sent if word)


def read_error_body(body: bytes) -> ErrorBody:
    """Whatever can be understood; never raises."""
    try:
        decoded: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ErrorBody(message=_plain(body))
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]
    if not isinstance(decoded, Mapping):
        return ErrorBody(message=decoded if isinstance(decoded, str) else "")
    inner = decoded.get("error")
    if isinstance(inner, Mapping):
        return _from_fields(inner)
    if isinstance(inner, str):
        return ErrorBody(inner, _word(decoded.get("code")), _word(decoded.get("type")))
    return _from_fields(decoded)


def _from_fields(fields: Mapping[str, object]) -> ErrorBody:
    message = fields.get("message")
    if not isinstance(message, str):
        message = _detail(fields.get("detail"))
    deeper = fields.get("innererror")
    return ErrorBody(
        message,
        _word(fields.get("code")),
        _word(fields.get("type")) or _word(fields.get("status")),
        _word(deeper.get("code")) if isinstance(deeper, Mapping) else "",
        _retry_delay(fields.get("details")),
        _daily(fields.get("details")),
    )


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


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


def _daily(details: object) -> bool:
    """Whether `google.rpc.QuotaFailure` names a limit such as GenerateRequestsPerDayPer..."""
    violations = [
        violation
        for item in (details if isinstance(details, list) else ())
        if isinstance(item, Mapping) and isinstance(item.get("violations"), list)
        for violation in item["violations"]
    ]
    return any(
        "perday" in _word(violation.get("quotaId")).lower()
        for violation in violations
        if isinstance(violation, Mapping)
    )


def _plain(body: bytes) -> str:
    text = body[:_TEXT_CAP].decode("utf-8", "replace").strip()
    return "" if text.startswith("<") else text
