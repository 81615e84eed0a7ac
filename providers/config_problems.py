"""Pydantic's findings in the words of the file: where, what is wrong, and the fix."""

import re
from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from core.route import CheckSettings, RouteSettings
from core.router import RouterSettings
from core.settings import (
    DeploymentSettings,
    HealthSettings,
    KeySettings,
    LimitSettings,
    PriceSettings,
    ProviderSettings,
    Settings,
    YardSettings,
)
from core.strict import Problem, SettingsError, suggest

Path = tuple[str | int, ...]

_PLACES: Final[tuple[tuple[tuple[str, ...], type[BaseModel]], ...]] = (
    (("providers", "*"), ProviderSettings),
    (("providers", "*", "health"), HealthSettings),
    (("providers", "*", "keys", "*"), KeySettings),
    (("providers", "*", "keys", "*", "limits"), LimitSettings),
    (("deployments", "*"), DeploymentSettings),
    (("deployments", "*", "limits"), LimitSettings),
    (("deployments", "*", "price"), PriceSettings),
    (("routes", "*"), RouteSettings),
    (("routes", "*", "checks"), CheckSettings),
    (("routes", "*", "router"), RouterSettings),
    (("yard",), YardSettings),
)

_SECRET_KEYS: Final = frozenset({"api_key", "keys", "headers"})
_MUST: Final = re.compile(r"^Input should be ")
_VALUE_CAP: Final = 60


def problems_of(error: ValidationError) -> list[Problem]:
    """Every finding as a problem, in the order in which they were found."""
    found: list[Problem] = []
    for detail in error.errors(include_url=False):
        found += _problems(detail)
    return found


def _problems(detail: ErrorDetails) -> Iterable[Problem]:
    path: Path = detail["loc"]
    raised = detail.get("ctx", {}).get("error")
    if isinstance(raised, SettingsError):
        return [Problem(path + one.path, one.problem, one.fix) for one in raised.problems]
    return [_problem(path, detail)]


def _problem(path: Path, detail: ErrorDetails) -> Problem:
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        known = _model_at(path[:-1]).model_fields
        return Problem(path, "there is no such setting", suggest(str(path[-1]), known))
    if kind == "missing":
        return Problem(path, "is missing", f"Add {path[-1]}")
    if path and path[-1] == "[key]":
        return Problem(
            path[:-1],
            "cannot be a name",
            "Use letters, digits, dots, dashes and underscores, at most 64",
        )
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
        return Problem(path, f"{_shown(path, value)} is not known", suggest(str(value), choices))
    if kind == "string_type" and isinstance(value, (int, float)):
        return Problem(path, f"{_shown(path, value)} is not a text", "Put it in quotes")
    # Without ", unable to parse string as a number": that it cannot be read is said already.
    wanted = _MUST.sub("It must be ", detail["msg"]).partition(", unable to parse")[0]
    return Problem(path, f"{_shown(path, value)} does not fit", wanted)


def _model_at(path: Path) -> type[BaseModel]:
    """The model whose fields stand at a place of the tree."""
    for place, model in _PLACES:
        if len(place) == len(path) and all(p in ("*", q) for p, q in zip(place, path, strict=True)):
            return model
    return Settings


def _shown(path: Path, value: object) -> str:
    """The value as it may be repeated: what could be a secret may not."""
    if not _SECRET_KEYS.isdisjoint(path):
        return "the value"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = "nothing" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _VALUE_CAP else text[: _VALUE_CAP - 1] + "…"
