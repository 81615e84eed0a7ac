"""What a route asks of an answer before it counts.

    empty       no text and no tool call
    truncated   ended by its output limit
    invalid     not JSON, or not what the schema says
    unread      to half of the prompt or less, as the server counted it

An answer that refuses is not checked: it has rules of its own.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Policy = Literal["accept", "retry", "next", "fail"]
"""What becomes of an answer that does not pass: it counts all the same; the same candidate
again; the next candidate; or the request fails."""

REQUEST_SCHEMA = "request"
"""The schema is the request's own `response_format`."""


@dataclass(frozen=True, slots=True)
class Checks:
    """`schema` is the JSON text of a schema, `REQUEST_SCHEMA`, or None: JSON is enough."""

    empty: Policy = "accept"
    truncated: Policy = "accept"
    invalid: Policy = "accept"
    schema: str | None = None
    unread: Policy = "accept"

    def body(self) -> dict[str, Any]:
        return asdict(self)


NO_CHECKS = Checks()
