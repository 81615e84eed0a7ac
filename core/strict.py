"""What all settings have in common: strictness, names, and problems that tell their remedy."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

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
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"There is {', '.join(sorted(names))}" if names else "There is none yet"


class Strict(BaseModel):
    """Knows its fields and takes no others; never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
