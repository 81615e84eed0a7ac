"""The tree of settings as a map: which model stands at a place, and where a setting belongs."""

from collections.abc import Iterator
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

from core.settings import Settings

Path = tuple[str | int, ...]

_ANY: Final = "NAME"
"""A step that people name themselves."""


def model_at(path: Path, root: type[BaseModel] = Settings) -> type[BaseModel] | None:
    """The model whose fields stand at a place of the tree; None where there is none."""
    here: Any = root
    for step in path:
        if _is_model(here):
            field = here.model_fields.get(str(step))
            here = None if field is None else _inner(field.annotation)
        else:
            here = _inner(get_args(here)[-1]) if get_origin(here) in (dict, list) else None
    return here if _is_model(here) else None


def place_of(setting: str, near: Path) -> str | None:
    """Where a setting that is not known at `near` belongs, in words: below it if it can be, else
    anywhere; None where nothing is called so."""
    for model in (model_at(near), Settings):
        homes = [where for where, name in _all(model, ()) if name == setting] if model else []
        if homes:
            nearest = [where for where in homes if len(where) == len(homes[0])]
            return " or ".join(".".join(where) or "the top of the file" for where in nearest)
    return None


def _all(model: type[BaseModel], where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every setting below a model, the nearest first, and the place that holds it."""
    yield from ((where, name) for name in model.model_fields)
    for name, field in model.model_fields.items():
        inner, step = _inner(field.annotation), (*where, name)
        while get_origin(inner) in (dict, list):
            inner, step = _inner(get_args(inner)[-1]), (*step, _ANY)
        if _is_model(inner):
            yield from _all(inner, step)


def _inner(annotation: Any) -> Any:
    """A type without `| None` and notes: the model or the collection in it, if there is one."""
    if _is_model(annotation) or get_origin(annotation) in (dict, list):
        return annotation
    for one in get_args(annotation):
        if (found := _inner(one)) is not None:
            return found
    return None


def _is_model(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, BaseModel)
