"""Who may answer a request, in which order, under which rules."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from core.checks import NO_CHECKS, Checks


@dataclass(frozen=True, slots=True)
class Plan:
    """Ordered candidates (names of deployments) and the rules of their route. The last
    `fallbacks` of them are the request's own wish: they come after all others, whatever the
    route's policy. `timeout` is in seconds for a call, where the request wants less than its
    provider allows.

    Plans are immutable rows: what a job was planned with stays as it was when the
    configuration changes later.
    """

    route: str
    candidates: tuple[str, ...]
    max_output: int
    max_attempts: int
    checks: Checks = NO_CHECKS
    fallbacks: int = 0
    timeout: float | None = None

    def body(self) -> dict[str, Any]:
        return {
            "route": self.route,
            "candidates": list(self.candidates),
            "max_output": self.max_output,
            "max_attempts": self.max_attempts,
            "checks": None if self.checks == NO_CHECKS else self.checks.body(),
            "fallbacks": self.fallbacks,
            "timeout": self.timeout,
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
            checks=Checks(**checks) if (checks := body.get("checks")) else NO_CHECKS,
            fallbacks=body.get("fallbacks", 0),
            timeout=body.get("timeout"),
        )
