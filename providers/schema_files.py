"""Puts the JSON schemas that a configuration names into it, and looks whether they are some."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.checks import REQUEST_SCHEMA
from core.lazy import lazy
from core.strict import Problem
from providers.yaml_text import reason

if TYPE_CHECKING:
    from core import answer_schema
else:
    answer_schema = lazy("core.answer_schema")

Place = tuple[str | int, ...]


def inline_schemas(data: dict[str, Any], folder: Path) -> list[Problem]:
    """Replaces each `routes.*.checks.json_schema` that is a path, from `folder`, by what the
    file holds; returns what is wrong with any of the schemas."""
    problems = []
    routes = data.get("routes")
    for name, route in routes.items() if isinstance(routes, dict) else ():
        checks = route.get("checks") if isinstance(route, dict) else None
        if not isinstance(checks, dict):
            continue
        schema = checks.get("json_schema")
        if schema is None or schema == REQUEST_SCHEMA:
            continue
        place = ("routes", str(name), "checks", "json_schema")
        found = _read(schema, folder, place) if isinstance(schema, str) else schema
        if not isinstance(found, dict | Problem):
            fix = "Name a file, write the schema in place, or write request for the request's own"
            found = Problem(place, "is not a JSON schema", fix)
        if not isinstance(found, Problem):
            found = _usable(found, place)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            checks["json_schema"] = found
    return problems


def _read(name: str, folder: Path, place: Place) -> Any | Problem:
    if not name.strip():
        fix = "Name a file, write the schema in place, or leave json_schema out"
        return Problem(place, "is empty", fix)
    path = folder / name
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        fix = "Name a readable file, from this file's folder, or write the schema in place"
        return Problem(place, f"{path} cannot be read: {reason(error)}", fix)
    except ValueError as error:
        return Problem(place, f"{path} is not JSON: {error}", "Mend the file")


def _usable(schema: Any, place: Place) -> Any | Problem:
    try:
        answer_schema.compiled(json.dumps(schema, sort_keys=True))
    except (answer_schema.SchemaError, TypeError) as error:
        return Problem(place, f"is no usable JSON schema: {error}", "Mend it")
    return schema
