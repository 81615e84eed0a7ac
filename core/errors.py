"""Errors that a user of batchyard can meet and mend.

    BatchyardError
    ├── ConfigError          the configuration is wrong; names the path in the file and the fix
    ├── InputError           a submitted file or a body is wrong; carries the bad lines
    ├── NotFoundError        no such job, deployment or file in this project
    ├── ConflictError        the thing asked for is not possible in the present state
    └── ServiceError         Postgres, the broker or an embedded service is not usable

What a *provider* did wrong is another tree: `providers/errors.py`.
"""

from dataclasses import dataclass

TOLD = 3


class BatchyardError(Exception):
    """Root of everything a user may be shown; the message names the remedy."""


class ConfigError(BatchyardError):
    """The configuration cannot be used."""


@dataclass(frozen=True, slots=True)
class LineProblem:
    """One bad line of an input: 1-based line, the field, what is wrong and how to fix it."""

    line: int
    field: str
    problem: str
    fix: str
    code: str = "invalid_request"

    def __str__(self) -> str:
        return self.told("line")

    def told(self, noun: str) -> str:
        """In words; `noun` is what the input consists of."""
        where = f"{noun} {self.line}" + (f", {self.field}" if self.field else "")
        return f"{where}: {self.problem}. {self.fix}"


class InputError(BatchyardError):
    """The input was refused whole; `problems` lists up to the first hundred bad lines.

    `message` is the sentence alone, `str` has the first problems below it; `noun` is what the
    input consists of: lines, or the items of a Python iterable.
    """

    def __init__(
        self, message: str, problems: tuple[LineProblem, ...] = (), noun: str = "line"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.problems = problems
        self.noun = noun

    def __str__(self) -> str:
        told = [problem.told(self.noun) for problem in self.problems[:TOLD]]
        rest = len(self.problems) - len(told)
        more = [f"and {rest} more, in the error's `problems`"] if rest else []
        return "\n  ".join((self.message, *told, *more))


class NotFoundError(BatchyardError):
    """Nothing of that name in this project."""


class ConflictError(BatchyardError):
    """Not possible in the present state."""


class ServiceError(BatchyardError):
    """A service that batchyard needs cannot be reached or used."""
