"""What can be called, and what one call brought back."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from core.money import Price
from core.ports import Buckets


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A GET that costs nothing and shows whether a server is up, every so many seconds."""

    url: str
    every: float


@dataclass(frozen=True, slots=True)
class Deployment:
    """A line: provider + model + endpoint + key + limits, resolved from the configuration.

    `api_key` is a reference (`env:NAME`, `file:/path`) or None; it is resolved
    only inside worker processes. It is key `key_number` of the provider's `key_count`;
    `key_buckets` are the limits of that key over all models, None where none are declared.
    `counts_asked` says that the output that a call may have counts against token limits, not
    what it had. `price` is None where nobody knows it. `quota_wait` is how many seconds a
    used-up quota parks it where the provider names no time; `health` is how its server is
    watched, None where it is not.
    """

    name: str
    provider: str
    kind: str
    base_url: str
    model: str
    timeout: float
    api_key: str | None
    buckets: Buckets
    price: Price | None
    context: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    key_number: int = 1
    key_count: int = 1
    key_buckets: Buckets | None = None
    quota_wait: float = 600.0
    health: HealthCheck | None = None
    counts_asked: bool = False

    @property
    def key_label(self) -> str:
        """How its key is told to people: by its reference; empty where it needs none."""
        if self.api_key is None:
            return ""
        if self.key_count == 1:
            return f"key {self.api_key}"
        return f"key {self.key_number} of {self.key_count} ({self.api_key})"


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Counted tokens. `input_tokens` includes the cached ones and `output_tokens` the
    reasoning ones, as in the OpenTelemetry GenAI conventions."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A parsed answer. `body` is the provider's JSON as it came; `usage` is None where the
    provider sent none, which is *unknown*, not zero. `refused` marks a content outcome."""

    status: int
    body: bytes
    request_id: str
    model: str
    usage: Usage | None
    finish_reason: str
    refused: bool = False
