"""Pydantic's findings in the words of the file: where, what is wrong, and the fix."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from core.settings import Settings
from core.strict import Problem, SettingsError, suggest
from providers.config_numbers import plain_number, unit_of
from providers.config_tree import Path, model_at, place_of

_SECRET_KEYS: Final = frozenset({"api_key", "keys", "headers"})
_VALUE_CAP: Final = 60
_NAMES: Final = "Use letters, digits, dots, dashes and underscores, at most 64"
_ELSEWHERE: Final[Mapping[str, str]] = {
    "requests_per_minute": "rpm",
    "tokens_per_minute": "tpm",
    "concurrency": "in_flight",
    "max_concurrency": "in_flight",
    "max_parallel_requests": "in_flight",
    "api_base": "base_url",
    "endpoint": "base_url",
    "url": "base_url",
    "max_tokens": "max_output",
    "max_retries": "max_attempts",
    "retries": "max_attempts",
    "fallbacks": "candidates",
    "models": "candidates",
    "deployments": "candidates",
    "policy": "choose",
    "strategy": "choose",
}
"""What other tools call our settings."""
_A_SECOND: Final = {"rps": "rpm", "tps": "tpm"}
_BOUNDS: Final = (
    ("gt", "more than"),
    ("ge", "at least"),
    ("lt", "less than"),
    ("le", "at most"),
)


def problems_of(error: ValidationError, root: type[BaseModel] = Settings) -> list[Problem]:
    """Every finding as a problem, in the order in which they were found; `root` is what was
    validated. What is missing because it is misspelt is told once."""
    details = error.errors(include_url=False)
    misspelt = {
        (*path[:-1], meant)
        for path in (one["loc"] for one in details if one["type"] == "extra_forbidden")
        if (meant := _meant(path, root)) is not None
    }
    found: list[Problem] = []
    for detail in details:
        if detail["type"] != "missing" or detail["loc"] not in misspelt:
            found += _problems(detail, root)
    return found


def _problems(detail: ErrorDetails, root: type[BaseModel]) -> Iterable[Problem]:
    path: Path = detail["loc"]
    raised = detail.get("ctx", {}).get("error")
    if isinstance(raised, SettingsError):
        return [Problem(path + one.path, one.problem, one.fix) for one in raised.problems]
    if detail["type"] == "extra_forbidden":
        return [Problem(path, "there is no such setting", _instead(path, root))]
    if detail["type"] == "missing":
        return [Problem(path, "is missing", f"Add {path[-1]}")]
    if path and path[-1] == "[key]":
        return [Problem(path[:-1], "cannot be a name", _NAMES)]
    return [Problem(path, *_told(path, detail, root))]


def _meant(path: Path, root: type[BaseModel]) -> str | None:
    """The setting of the same place that an unknown one stands for."""
    model = model_at(path[:-1], root)
    known = [] if model is None else list(model.model_fields)
    word = str(path[-1])
    if _ELSEWHERE.get(word) in known:
        return _ELSEWHERE[word]
    told = suggest(word, known)
    return next((name for name in known if told == f"Did you mean {name}?"), None)


def _instead(path: Path, root: type[BaseModel]) -> str:
    """What to write instead of an unknown setting."""
    word, near = str(path[-1]), path[:-1]
    model = model_at(near, root)
    known = [] if model is None else list(model.model_fields)
    if _A_SECOND.get(word) in known:
        return f"Limits are those of a minute: write {_A_SECOND[word]}, 60 times as many"
    if meant := _meant(path, root):
        return f"Did you mean {meant}?"
    if root is Settings and (place := place_of(word, near)):
        return f"It belongs to {place}"
    return suggest(word, known)


def _told(path: Path, detail: ErrorDetails, root: type[BaseModel]) -> tuple[str, str]:
    """A finding about a value, and its fix."""
    kind, value, shown = detail["type"], detail["input"], _shown(path, detail["input"])
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return _not_a_mapping(path, value, shown, root)
    if kind == "list_type":
        one = value if isinstance(value, str) and _may_be_shown(path) else "ONE"
        return f"{shown} is not a list", f"Write [{one}], or a line with a dash for each"
    if kind == "literal_error":
        return _no_choice(path, value, shown, detail.get("ctx", {}))
    if kind.startswith("string_"):
        return _no_text(kind, value, shown)
    if kind.startswith(("int_", "float_", "decimal_")):
        return _no_number(path, kind, value, shown)
    return _no_fit(detail, shown)


def _no_fit(detail: ErrorDetails, shown: str) -> tuple[str, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "too_short":
        return "is empty", "Name at least one"
    if kind.startswith("bool_"):
        return f"{shown} is neither true nor false", "Write one of the two"
    for key, words in _BOUNDS:
        if key in context:
            return f"{shown} does not fit", f"It must be {words} {context[key]:g}"
    return f"{shown} does not fit", re.sub("^Input should be ", "It must be ", detail["msg"])


def _no_text(kind: str, value: object, shown: str) -> tuple[str, str]:
    match kind:
        case "string_too_short":
            return "is empty", "Give it a value"
        case "string_pattern_mismatch":
            # Names are the only texts that have a pattern.
            return f"{shown} cannot be a name", _NAMES
        case _ if value is None:
            return "is empty", "Give it a value"
        case _:
            fix = "Write one word" if isinstance(value, dict | list) else "Put it in quotes"
            return f"{shown} is not a text", fix


def _not_a_mapping(path: Path, value: object, shown: str, root: type[BaseModel]) -> tuple[str, str]:
    model = model_at(path, root)
    if model is not None:
        known = ", ".join(model.model_fields)
        return f"{shown} is not a mapping", f"Write NAME: VALUE for its settings: {known}"
    if value is None:
        return "is empty", "Name at least one"
    return f"{shown} is not a mapping", "Write NAME: VALUE for each, without a dash"


def _no_choice(
    path: Path, value: object, shown: str, context: Mapping[str, Any]
) -> tuple[str, str]:
    choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
    match value:
        case [str(one)] if one in choices:
            return "a list is one too many", f"Write {path[-1]}: {one}"
        case str():
            return f"{shown} is not known", suggest(value, choices)
        case _:
            return f"{shown} is not known", suggest("", choices)


def _no_number(path: Path, kind: str, value: object, shown: str) -> tuple[str, str]:
    setting = str(path[-1]) if path else ""
    whole = kind.startswith("int_")
    what = f"a {'whole ' if whole else ''}number{unit_of(setting)}"
    meant = plain_number(setting, value) if isinstance(value, str) else None
    if meant is None or (whole and not meant.isdecimal()):
        return f"{shown} is not {what}", f"Write e.g. {'60' if whole else '0.5'}, without a unit"
    return f"{shown} is not {what}", f"Write {meant}"


def _may_be_shown(path: Path) -> bool:
    return _SECRET_KEYS.isdisjoint(path)


def _shown(path: Path, value: object) -> str:
    """The value as it may be repeated: what could be a secret may not."""
    if not _may_be_shown(path):
        return "the value"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _VALUE_CAP else text[: _VALUE_CAP - 1] + "…"
