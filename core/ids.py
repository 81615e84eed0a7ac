"""Jobs' ids as people and scripts write them."""

from core.errors import NotFoundError

PREFIX = "job_"


def job_number(text: str | int) -> int:
    """The number of a job written as `12` or `job_12`. Raises NotFoundError for anything else."""
    digits = str(text).strip().removeprefix(PREFIX)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise NotFoundError(f"{str(text)!r} is no job id. Ids look like 12 or job_12")
    return int(digits)


def job_name(number: int) -> str:
    """How people and scripts see a job's id."""
    return f"{PREFIX}{number}"
