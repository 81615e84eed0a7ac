"""A marshalling yard for LLM batches.

import batchyard

job = batchyard.submit("prompts.jsonl", budget="2.50")
job.wait()
for line in job.results():
    print(line["custom_id"], line["response"]["body"])
"""

import importlib
from typing import Any

__all__ = ["Job", "job", "submit"]


def __getattr__(name: str) -> Any:
    """Loads the client when it is first used: the command line must start fast."""
    if name not in __all__:
        raise AttributeError(f"module 'batchyard' has no attribute {name!r}")
    return getattr(importlib.import_module("batchyard.client"), name)
