"""Bespoke Curator's LLM with its OpenAI backend and limits that do not bind.

Its token counter would fetch a vocabulary; LiteLLM's package, which it depends on, has it.
"""

import os
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

LITELLM = Path(find_spec("litellm").origin).parent
os.environ["TIKTOKEN_CACHE_DIR"] = str(LITELLM / "litellm_core_utils" / "tokenizers")
os.environ["CURATOR_CACHE_DIR"] = tempfile.mkdtemp()
os.environ |= {"CURATOR_DISABLE_CACHE": "1", "TELEMETRY_ENABLED": "false"}
os.environ["CURATOR_DISABLE_RICH_DISPLAY"] = "1"

from bespokelabs import curator  # noqa: E402
from given import KEY, MODEL, Given, given  # noqa: E402


class Asker(curator.LLM):
    def prompt(self, row: dict) -> list[dict]:
        return row["messages"]

    def parse(self, _row: dict, response: str) -> dict:
        return {"answer": response}


def rows(todo: Given) -> Iterator[dict]:
    for body in todo.bodies:
        yield {"messages": body["messages"]}


def main() -> None:
    todo = given()
    asker = Asker(
        model_name=MODEL,
        backend="openai",
        generation_params={"max_tokens": 16},
        backend_params={
            "base_url": todo.base_url,
            "api_key": KEY,
            "max_requests_per_minute": 6_000_000,
            "max_tokens_per_minute": 6_000_000_000,
            "max_concurrent_requests": todo.at_once,
        },
    )
    answers = asker(list(rows(todo)))
    with todo.output.open("w", encoding="utf-8") as file:
        for row in answers.dataset:
            file.write(row["answer"] + "\n")


main()
