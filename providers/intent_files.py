"""Puts the intents files that a configuration names into it."""

from pathlib import Path
from typing import Any

import yaml

from core.strict import Problem

Place = tuple[str | int, ...]


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
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        fix = "Name a readable file, from this file's folder"
        return Problem(place, f"{path} cannot be read: {error}", fix)
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
