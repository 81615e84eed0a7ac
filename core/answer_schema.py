"""JSON schemas that answers are held to.

A schema may come with a request, so nothing is fetched for it, its patterns cannot run away, and
what is said of a bad answer does not quote it.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

BACKTRACKS = 100_000
MASK = "the value"
_decode = msgspec.json.Decoder().decode
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKS)


class SchemaError(ValueError):
    """This is no usable schema."""


@lru_cache(maxsize=256)
def compiled(schema: str) -> Any:
    """The validator of a schema's JSON text. Raises SchemaError."""
    try:
        return jsonschema_rs.validator_for(
            schema, mask=MASK, pattern_options=_PATTERNS, offline=True
        )
    except jsonschema_rs.ValidationError as error:
        text = str(error).partition("\n")[0]
        place = _place(error.instance_path)
        raise SchemaError(f"at {place}: {text}" if error.instance_path else text) from error
    except ValueError as error:
        raise SchemaError(str(error).partition("\n")[0]) from error


def misfit(text: str, schema: str | None) -> tuple[str, str] | None:
    """(code, what is wrong) of a text that is not JSON or does not fit; None where it does.
    Raises SchemaError."""
    try:
        value = _decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return "not_json", f"the answer is not JSON: {error}"
    if schema is None:
        return None
    found = next(iter(compiled(schema).iter_errors(value)), None)
    if found is None:
        return None
    place = _place(found.instance_path)
    return "schema_mismatch", f"the answer does not fit its schema at {place}: {found.message}"


def _place(path: Iterable[str | int]) -> str:
    """A place in a JSON value: `$.labels[2].name`."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
