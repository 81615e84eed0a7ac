"""Who may answer a request, in which order, under which rules."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.cascade import Cascade
from core.checks import NO_CHECKS, Checks

MOST_CANDIDATES: Final = 60
"""Of one plan: they are kept as the bits of a bigint."""

USUAL: Final = ""
TOO_LONG: Final = "too_long"
REFUSED: Final = "refused"
LISTS: Final = (USUAL, TOO_LONG, REFUSED)


@dataclass(frozen=True, slots=True)
class Plan:
    """Candidates (names of deployments) and the rules of their route.

    The first `usual` candidates stand for every request, all where it is None; among them the
    policy `choose` chooses at dispatch, with `weights` in step with them where it is
    `weighted`; with a `cascade` each answer decides whether the next of them is asked. The last
    `fallbacks` of these are the request's own wish: they come after all others, in their order,
    whatever the route's policy. The `too_long` and `refused` ones stand for requests that
    failed so; each is one of the candidates. `timeout` is in seconds for a call, where the
    request wants less than its provider allows. Plans are immutable rows: what a job was
    planned with stays as it was when the configuration changes later.
    """

    route: str
    candidates: tuple[str, ...]
    max_output: int
    max_attempts: int
    checks: Checks = NO_CHECKS
    fallbacks: int = 0
    timeout: float | None = None
    choose: str = "ordered"
    weights: tuple[float, ...] = ()
    usual: int | None = None
    too_long: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    cascade: Cascade | None = None

    @property
    def own(self) -> int:
        """How many candidates are the route's own: its policy chooses among them."""
        usual = len(self.candidates) if self.usual is None else self.usual
        return usual - self.fallbacks

    def mask(self, among: str = USUAL) -> int:
        """The candidates of a list, USUAL, TOO_LONG or REFUSED, as the bits of a number."""
        if among == USUAL:
            return (1 << self.own + self.fallbacks) - 1
        return sum(1 << index for index in self.listed(among))

    def listed(self, among: str = USUAL) -> Sequence[int]:
        """The candidates (indexes) of a list in its order, which that of their bits need not be:
        a list of its own may begin with what is last of the usual ones."""
        if among == USUAL:
            return range(self.own + self.fallbacks)
        names = self.too_long if among == TOO_LONG else self.refused
        return [self.candidates.index(name) for name in names]

    def body(self) -> dict[str, Any]:
        return {
            "route": self.route,
            "candidates": list(self.candidates),
            "max_output": self.max_output,
            "max_attempts": self.max_attempts,
            "checks": None if self.checks == NO_CHECKS else self.checks.body(),
            "fallbacks": self.fallbacks,
            "timeout": self.timeout,
            "choose": self.choose,
            "weights": list(self.weights),
            "usual": self.usual,
            "too_long": list(self.too_long),
            "refused": list(self.refused),
            "cascade": None if self.cascade is None else self.cascade.body(),
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
            choose=body.get("choose", "ordered"),
            weights=tuple(body.get("weights", ())),
            usual=body.get("usual"),
            too_long=tuple(body.get("too_long", ())),
            refused=tuple(body.get("refused", ())),
            cascade=Cascade(**cascade) if (cascade := body.get("cascade")) else None,
        )


def indexes(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, from the lowest."""
    index = 0
    while mask:
        if mask & 1:
            yield index
        mask >>= 1
        index += 1
