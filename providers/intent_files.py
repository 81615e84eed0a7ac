"""Reads intents files, and puts those that a configuration names into it."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from core.errors import InputError
from core.intents import IntentFile
from core.strict import Problem
from providers.config_problems import problems_of
from providers.yaml_text import load_yaml, reason

Place = tuple[str | int, ...]


def read_intents(path: Path) -> IntentFile:
    """The intents of a file. Raises InputError with every finding, a line each."""
    found = _read(path, ())
    if isinstance(found, Problem):  # it names the file
        raise InputError(f"{found.problem}. {found.fix}")
    try:
        return IntentFile.model_validate(found)
    except ValidationError as error:
        problems = problems_of(error, IntentFile)
    lines = []
    for one in problems:
        where = ".".join(str(step) for step in one.path)
        lines.append(f"{path.name}: {where}{': ' if where else ''}{one.problem}. {one.fix}")
    raise InputError("\n".join(lines))


def inline_intents(data: dict[str, Any], folder: Path) -> list[Problem]:
    """Replaces each `routes.*.intents.file` that is a path, from `folder`, by what the file
    holds; returns what is wrong with any of the files."""
    problems = []
    routes = data.get("routes")
    for name, route in routes.items() if isinstance(routes, dict) else ():
        intents = route.get("intents") if isinstance(route, dict) else None
        if not isinstance(intents, dict) or not isinstance(intents.get("file"), str):
            continue
        found = _read(folder / intents["file"], ("routes", str(name), "intents", "file"))
        if isinstance(found, Problem):
            problems.append(found)
        else:
            intents["file"] = found
    return problems


def _read(path: Path, place: Place) -> dict[str, Any] | Problem:
    try:
        found = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        fix = "Name a readable file, from this file's folder"
        return Problem(place, f"{path} cannot be read: {reason(error)}", fix)
    except yaml.YAMLError as error:
        return Problem(place, f"{path} is not YAML: {error}", "Mend the file")
    if not isinstance(found, dict):
        return Problem(place, f"{path} is no mapping", "Begin with intents:")
    # A list of examples is short for an intent that has nothing else.
    intents = found.get("intents")
    if isinstance(intents, dict):
        short = {name: {"examples": one} for name, one in intents.items() if isinstance(one, list)}
        found["intents"] = {**intents, **short}
    return found
