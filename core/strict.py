"""What all settings have in common: strictness, names, and problems that tell their remedy."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated, Any, Final, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong setting: where in the tree, what is wrong, and how to mend it."""

    path: tuple[str | int, ...]
    problem: str
    fix: str


class SettingsError(ValueError):
    """Settings that contradict each other, or that no pattern can describe."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(f"{one.problem}. {one.fix}" for one in problems))
        self.problems = problems


def suggest(word: str, known: Iterable[str]) -> str:
    """A fix for a misspelt word: the one that was meant, or all that there are."""
    names = list(known)
    alike = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(word.casefold(), alike, n=1) or [
        name for name in alike if name.startswith(f"{word.casefold()}_")
    ]
    if close:
        return f"Did you mean {alike[close[0]]}?"
    return f"There is {', '.join(sorted(names))}" if names else "There is none yet"


class Strict(BaseModel):
    """Knows its fields and takes no others; never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """`true` is none, though Python counts it as 1."""
        if isinstance(value, bool) and info.field_name is not None:
            taken = _kinds(cls.model_fields[info.field_name].annotation)
            if bool not in taken and not taken.isdisjoint(_NUMBERS):
                said = str(value).lower()
                raise SettingsError(Problem((), f"{said} is not a number", "Write a number"))
        return value


def _kinds(annotation: Any) -> set[Any]:
    """The plain types of `int`, `int | None` and their like."""
    return {annotation, *get_args(annotation)}


_NUMBERS: Final = frozenset({int, float, Decimal})


def is_host(text: str) -> bool:
    """Whether a text can be the name or the address of a machine, without scheme and port."""
    if _HOST.fullmatch(text) and not _DIGITS.fullmatch(text):
        return True
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


_LABEL: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})"
_HOST: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DIGITS: Final = re.compile(r"[0-9.]+")
