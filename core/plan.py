"""Who may answer a request, in which order, under which rules."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Plan:
    """Ordered candidates (names of deployments) and the rules of their route.

    Plans are immutable rows: what a job was planned with stays as it was when the
    configuration changes later.
    """

    route: str
    candidates: tuple[str, ...]
    max_output: int
    max_attempts: int

    def body(self) -> dict[str, Any]:
        return {
            "route": self.route,
            "candidates": list(self.candidates),
            "max_output": self.max_output,
            "max_attempts": self.max_attempts,
        }

    def digest(self) -> str:
        text = json.dumps(self.body(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> "Plan":
        return cls(
            route=body["route"],
            candidates=tuple(body["candidates"]),
            max_output=body["max_output"],
            max_attempts=body["max_attempts"],
        )
