"""The fields of a body that are for the yard and not for the provider.

fallbacks   routes, deployments or models that may answer after the request's own candidates
timeout     seconds for each of its calls, up to what its providers allow
metadata    comes back with the result; sent on only beside `store: true`, where it is
            OpenAI's own (https://platform.openai.com/docs/api-reference/chat/create)
"""

from collections.abc import Callable, Iterable

import msgspec
from msgspec import Raw

from core.wishes import Wishes, write_wishes
from tasks.intake.bad_line import BadLineError

MOST_FALLBACKS = 16
MOST_WISHES = 1_000
"""Different ones in a job. Each is a plan of its own, and dispatch looks at all plans every second:
a job with a timeout of its own for every request would keep the whole yard waiting."""

Fields = dict[str, Raw]
Resolve = Callable[[str], str | None]
Longest = Callable[[Iterable[str]], float]

_NULL = b"null"
_decode_names = msgspec.json.Decoder(list[str]).decode
_decode_number = msgspec.json.Decoder(float).decode
_decode_fields = msgspec.json.Decoder(Fields).decode


class WishReader:
    """Takes the yard's fields out of bodies. Equal wishes are checked once: `resolve` answers
    None for a target that may be used and otherwise what to write instead, `longest` the
    seconds that a call may last at the slowest provider of some targets."""

    def __init__(self, resolve: Resolve, longest: Longest) -> None:
        self._resolve = resolve
        self._longest = longest
        self._known: dict[tuple[bytes, bytes, str], bytes] = {}

    def take(self, body: Fields, target: str, prefix: str) -> bytes:
        """The wishes as they are stored. Raises BadLineError."""
        key = bytes(body.pop("fallbacks", _NULL)), bytes(body.pop("timeout", _NULL)), target
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MOST_WISHES and key[:2] != (_NULL, _NULL):
                raise _too_many(key, prefix)
            fallbacks = self._fallbacks(Raw(key[0]), f"{prefix}fallbacks")
            timeout = self._timeout(Raw(key[1]), (target, *fallbacks), f"{prefix}timeout")
            self._known[key] = found = write_wishes(Wishes(fallbacks, timeout))
        return found

    def _fallbacks(self, value: Raw, field: str) -> tuple[str, ...]:
        if bytes(value) == _NULL:
            return ()
        try:
            names = _decode_names(value)
        except msgspec.DecodeError as error:
            raise BadLineError(
                field, "not a list of names", 'Write e.g. ["mini", "large"]', "invalid_request"
            ) from error
        if len(names) > MOST_FALLBACKS:
            fix = f"Give up to {MOST_FALLBACKS}, or name a route that has them"
            raise BadLineError(field, f"{len(names)} names", fix, "invalid_request")
        for index, name in enumerate(names):
            instead = self._resolve(name)
            if instead is not None:
                problem = f"{name!r} is no route, deployment or served model"
                raise BadLineError(f"{field}[{index}]", problem, instead, "model_not_found")
        return tuple(dict.fromkeys(names))

    def _timeout(self, value: Raw, targets: tuple[str, ...], field: str) -> float | None:
        if bytes(value) == _NULL:
            return None
        try:
            seconds = _decode_number(value)
        except msgspec.DecodeError as error:
            fix = "Give seconds, without quotes"
            raise BadLineError(field, "not a number", fix, "invalid_request") from error
        longest = self._longest(targets)
        if not 0 < seconds <= longest:
            fix = (
                f"Give more than 0 and up to {longest:g} s, the longest of its providers' timeouts"
            )
            raise BadLineError(field, f"{seconds:g} s", fix, "invalid_request")
        return seconds


def _too_many(key: tuple[bytes, bytes, str], prefix: str) -> BadLineError:
    return BadLineError(
        f"{prefix}{'timeout' if key[0] == _NULL else 'fallbacks'}",
        f"more than {MOST_WISHES:,} different timeouts, fallbacks and models in one job",
        "Round timeouts to seconds, or name a route that has the fallbacks",
        "invalid_request",
    )


def take_metadata(body: Fields, field: str) -> bytes:
    """A body's metadata; it stays there only where the provider is to store it.
    Raises BadLineError."""
    written = body["metadata"]
    metadata = b"" if bytes(written) == _NULL else checked_metadata(written, field)
    if bytes(body.get("store", _NULL)) != b"true":
        del body["metadata"]
    return metadata


def checked_metadata(value: Raw, field: str) -> bytes:
    """The object as it was written. Raises BadLineError."""
    try:
        _decode_fields(value)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadLineError(
            field, "not an object", 'Write e.g. {"source": "web"}', "invalid_request"
        ) from error
    return bytes(value)
