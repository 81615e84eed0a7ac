"""Takes secrets out of texts that providers send back; they like to echo key fragments."""

import re
from typing import Final

MESSAGE_CAP: Final = 500
ID_CAP: Final = 200
"""Characters of a name or an id that a provider gives: theirs have about forty."""

_SECRETS: Final = (
    # A named secret: Authorization: ..., api_key=..., "x-api-key": "..."
    re.compile(
        r"(?i)\b((?:proxy-)?authorization|x-api-key|api[-_ ]?key|access[-_ ]?token|token|secret"
        r"|password|key)(\"?\s*(?:[=:]|provided:|provided was)\s*\"?)"
        r"(?!\s)((?:bearer|basic)\s+)?[^\s\"',;&<>()\[\]{}]{4,}"
    ),
    re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=*-]{4,}"),
)
_SHAPES: Final = (
    # sk-..., gsk_..., xai-..., pk-..., r8_..., hf_..., nvapi-..., csk-..., AIza..., a JWT
    re.compile(r"\b(?:sk|gsk|csk|pk|rk|xai|nvapi|hf|r8|fw|tgp|pplx)[-_][A-Za-z0-9_*.…-]{3,}"),
    re.compile(r"\bAIza[A-Za-z0-9_*.-]{6,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]*"),
    # Half masked in the provider's own manner: abc1****wxyz
    re.compile(r"[A-Za-z0-9_-]*\*{3,}[A-Za-z0-9_-]*"),
)
_USERINFO: Final = re.compile(r"(://)[^/\s@]+@")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")
MASK: Final = "[redacted]"


def redact(text: str, most: int = MESSAGE_CAP) -> str:
    """`text` without keys and control characters, at most so many characters long."""
    # Cut first with a margin: the patterns then cost little on a megabyte of HTML, and a key
    # that is cut in two at the margin falls away with the final cut.
    text = _CONTROL.sub(" ", text[: most * 4]).strip()
    text = mask(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def clipped(text: str, most: int = MESSAGE_CAP) -> str:
    """`text` without control characters, at most so many characters long."""
    text = _CONTROL.sub(" ", text[: most + 1]).strip()
    return text if len(text) <= most else text[: most - 1] + "…"


def mask(text: str) -> str:
    """`text` without keys, otherwise as it is."""
    text = _USERINFO.sub(rf"\1{MASK}@", text)
    for pattern in _SECRETS:
        text = pattern.sub(rf"\1\2{MASK}", text)
    for pattern in _SHAPES:
        text = pattern.sub(MASK, text)
    return text
