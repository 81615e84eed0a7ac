"""What every peer's script is given."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "small"
KEY = "no-key-is-needed"


@dataclass(frozen=True, slots=True)
class Given:
    """The command line of a peer's script, read."""

    base_url: str
    bodies: list[dict[str, Any]]
    output: Path
    at_once: int


def given() -> Given:
    base_url, lines, output, at_once = sys.argv[1:5]
    with Path(lines).open(encoding="utf-8") as file:
        bodies = [json.loads(line) for line in file]
    for body in bodies:
        del body["custom_id"]
    return Given(base_url, bodies, Path(output), int(at_once))
