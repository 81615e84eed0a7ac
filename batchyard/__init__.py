"""A marshalling yard for LLM batches.

import batchyard

job = batchyard.submit("prompts.jsonl", budget="2.50")
job.wait()
for line in job.results():
    print(line["custom_id"], line["response"]["body"])
"""

import importlib
from typing import Any

_HOMES = {
    **dict.fromkeys(("Job", "job", "submit"), "batchyard.client"),
    **dict.fromkeys(
        (
            "BatchyardError",
            "ConfigError",
            "ConflictError",
            "InputError",
            "LineProblem",
            "NotFoundError",
            "ServiceError",
        ),
        "core.errors",
    ),
}

__all__ = [
    "BatchyardError",
    "ConfigError",
    "ConflictError",
    "InputError",
    "Job",
    "LineProblem",
    "NotFoundError",
    "ServiceError",
    "job",
    "submit",
]


def __getattr__(name: str) -> Any:
    """Loads what is used when it is first used: the command line must start fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'batchyard' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
