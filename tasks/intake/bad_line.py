"""How the checks of an input line end."""

import msgspec
from msgspec import Raw

_decode_text = msgspec.json.Decoder(str).decode


class BadLineError(Exception):
    """Carries field, problem, fix and code out of the checks."""


def read_text(value: Raw, field: str) -> str:
    """The string that stands there. Raises BadLineError."""
    try:
        return _decode_text(value)
    except msgspec.DecodeError as error:
        raise BadLineError(field, "not a string", "Put it in quotes", "invalid_request") from error
