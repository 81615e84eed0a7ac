"""Jobs' ids as people and scripts write them, and the project they are looked for in."""

from collections.abc import Mapping

from core.errors import NotFoundError

PREFIX = "job_"
DEFAULT_PROJECT = "default"
PROJECT_VARIABLE = "BATCHYARD_PROJECT"


def project_named(project: str | None, environ: Mapping[str, str]) -> str:
    """The project that is asked for, else BATCHYARD_PROJECT, else `default`."""
    return project or environ.get(PROJECT_VARIABLE) or DEFAULT_PROJECT


def job_number(text: str | int) -> int:
    """The number of a job written as `12` or `job_12`. Raises NotFoundError for anything else."""
    digits = str(text).strip().removeprefix(PREFIX)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise NotFoundError(f"{str(text)!r} is no job id. Ids look like 12 or job_12")
    return int(digits)


def job_name(number: int) -> str:
    """How people and scripts see a job's id."""
    return f"{PREFIX}{number}"
