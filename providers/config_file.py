"""Reads `batchyard.yaml`: YAML with line numbers, no duplicate keys, and findings that name
the place in the file and the fix."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import yaml
from pydantic import ValidationError
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from core.errors import ConfigError
from core.settings import Settings
from core.strict import Problem
from providers.config_problems import problems_of
from providers.intent_files import inline_intents
from providers.key_files import anchor_keys
from providers.schema_files import inline_schemas
from providers.yaml_text import MERGE_KEY, Loader, reason

_SHOWN: Final = 10

Place = tuple[str | int, ...]
Check = Callable[[Settings], list[Problem]]


def read_settings(path: Path, check: Check) -> Settings:
    """The settings in a file. Raises ConfigError with every finding, a line each; those of
    `check` where there are no others."""
    node, data = _parse(path, _read(path))
    lines: dict[Place, int] = {}
    problems = _visit(node, (), lines, set())
    if not isinstance(data, dict):
        problems.append(Problem((), "is not a mapping", "Begin with providers:"))
    else:
        anchor_keys(data, path.parent)
        problems += inline_schemas(data, path.parent)
        problems += inline_intents(data, path.parent)
    if problems:
        raise ConfigError(told(path.name, problems, lines))
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError(told(path.name, problems_of(error), lines)) from error
    if problems := check(settings):
        raise ConfigError(told(path.name, problems, lines))
    return settings


def told(file: str, problems: Sequence[Problem], lines: dict[Place, int]) -> str:
    """The problems as text, one a line, up to ten."""
    told_lines = [_line(file, problem, lines) for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        told_lines.append(f"... and {len(problems) - _SHOWN} more")
    return "\n".join(told_lines)


def _line(file: str, problem: Problem, lines: dict[Place, int]) -> str:
    place = problem.path
    while place and place not in lines:
        place = place[:-1]
    number = f":{lines[place]}" if place in lines else ""
    where = ".".join(str(step) for step in problem.path)
    return f"{file}{number}: {where + ': ' if where else ''}{problem.problem}. {problem.fix}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no file {path}. Name another with --config or BATCHYARD_CONFIG, "
            "or leave both out to run on what the environment offers"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {reason(error)}. Make it a readable UTF-8 file"
        ) from error


def _parse(path: Path, text: str) -> tuple[Node, object]:
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise ConfigError(
                f"{path.name} is empty. Describe providers, deployments and routes in it"
            )
        return node, loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path.name}{line}: {_wrong(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name}: {error}. Save the file as plain UTF-8 text") from error
    finally:
        loader.dispose()


def _wrong(error: yaml.MarkedYAMLError) -> str:
    """What is wrong with the YAML, and the fix."""
    what = error.problem or "this is not YAML"
    if "'\\t'" in what:
        return "a tab stands where spaces belong. Indent with spaces"
    if "another document" in what:
        return "a second document begins here. Keep one, without a line of ---"
    if isinstance(error, ConstructorError) and "constructor" in what:
        return "a tag (!…) stands here. Leave it out: values are plain"
    if "alias" in what:
        return f"{what}. Put texts that begin with * in quotes"
    return (
        f"{what}. Check the indentation, and quote texts that hold a colon or begin with a "
        "special character"
    )


def _visit(node: Node, place: Place, lines: dict[Place, int], seen: set[int]) -> list[Problem]:
    """Notes the line of every place under a node; returns the keys that are there twice."""
    lines.setdefault(place, node.start_mark.line + 1)
    if id(node) in seen:
        return []
    seen.add(id(node))
    problems: list[Problem] = []
    if isinstance(node, SequenceNode):
        for position, item in enumerate(node.value):
            problems += _visit(item, (*place, position), lines, seen)
    if isinstance(node, MappingNode):
        problems += _visit_mapping(node, place, lines, seen)
    return problems


def _visit_mapping(
    node: MappingNode, place: Place, lines: dict[Place, int], seen: set[int]
) -> list[Problem]:
    problems: list[Problem] = []
    first: dict[str, int] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, ScalarNode) else str(key.value)
        line = key.start_mark.line + 1
        here = (*place, name)
        if name in first and name != MERGE_KEY:
            fix = f"It stands on line {first[name]} already; keep one of them"
            problems.append(Problem(here, f"is there again on line {line}", fix))
        first.setdefault(name, line)
        lines.setdefault(here, line)
        problems += _visit(value, here, lines, seen)
    return problems
