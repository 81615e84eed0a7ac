"""When a cheap candidate's answer is enough, and when the next candidate is asked."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pydantic import Field, model_validator

from core.checks import Checks
from core.strict import Problem, SettingsError, Strict

Accept = Literal["learned", "agreement", "checks"]
Compare = Literal["exact", "choice", "json"]


@dataclass(frozen=True, slots=True)
class Cascade:
    """As plans carry it.

    learned     the acceptance scorer of the router model `model` (its row's id) gives the answer
                `threshold` or more; without one, the last candidate would gain no more than
                `least` (without that, what training chose)
    agreement   `ask` candidates gave the same answer, as `compare` reads it
    checks      it passes the route's checks that say `next`

    Nothing counts before `ask` candidates have answered, and the answer of the last candidate
    always does. 0 are all before the last one, as the model has them.
    """

    accept: Accept
    ask: int = 1
    compare: Compare = "exact"
    threshold: float | None = None
    model: int = 0
    least: float | None = None

    def by_model(self, model: int, steps: int, least: float | None = None) -> "Cascade":
        """Of `steps` candidates, judged by this model: nothing counts before the others than the
        last have answered, or as many as the settings say."""
        before = max(1, steps - 1)
        return replace(self, model=model, ask=min(self.ask or before, before), least=least)

    def body(self) -> dict[str, Any]:
        return asdict(self)


class CascadeSettings(Strict):
    """How a route with `choose: cascade` decides whether an answer is enough (`Cascade` tells
    how). `compare` says what makes two answers the same: the text (`exact`), the option that
    they choose (`choice`), or the JSON value (`json`). `cascade: agreement` is short for
    `cascade: {accept: agreement}`."""

    accept: Accept = "learned"
    threshold: float | None = Field(default=None, gt=0, lt=1)
    ask: int | None = Field(default=None, ge=1, le=10)
    compare: Compare | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_short_for_its_accept(cls, value: Any) -> Any:
        return {"accept": value} if isinstance(value, str) else value

    @property
    def asked(self) -> int:
        """How many candidates have to answer before anything counts."""
        return self.ask or {"learned": 0, "agreement": 2, "checks": 1}[self.accept]

    @model_validator(mode="after")
    def _has_only_what_counts(self) -> "CascadeSettings":
        if self.threshold is not None and self.accept != "learned":
            fix = "Write accept: learned, or leave the threshold out"
            raise SettingsError(Problem(("threshold",), f"is nothing to {self.accept}", fix))
        if self.ask is not None and self.accept == "checks":
            fix = "Leave it out: each answer is checked as it comes"
            raise SettingsError(Problem(("ask",), "is nothing to checks", fix))
        if self.compare is not None and self.asked < 2:
            fix = "Write ask: 2, or leave it out"
            raise SettingsError(Problem(("compare",), "needs two answers", fix))
        if self.accept == "agreement" and self.asked < 2:
            raise SettingsError(Problem(("ask",), "is too few to agree", "Write 2 or more"))
        return self

    def resolved(self) -> Cascade:
        """As plans carry it, but for the model."""
        return Cascade(self.accept, self.asked, self.compare or "exact", self.threshold)


def check_threshold(cascade: CascadeSettings | None, *, aimed: bool) -> None:
    """Raises SettingsError where a route has both a threshold and an aim."""
    if aimed and cascade is not None and cascade.threshold is not None:
        fix = "Keep the one that is meant: an aim finds its own threshold"
        raise SettingsError(
            Problem(("cascade", "threshold"), "stands beside the router's aim", fix)
        )


def check_cascade(
    choose: str, cascade: CascadeSettings | None, candidates: int, checks: Checks
) -> None:
    """Raises SettingsError where a route's way to choose, its cascade, the number of its
    candidates and its checks do not fit each other."""
    if choose != "cascade":
        if cascade is not None:
            fix = "Write choose: cascade, or leave the cascade out"
            raise SettingsError(Problem(("cascade",), f"counts for nothing with {choose}", fix))
        return
    asked = CascadeSettings() if cascade is None else cascade
    least = max(asked.asked, 1) + 1
    if candidates < least:
        fix = f"Name at least {least}, the cheapest first"
        raise SettingsError(Problem(("candidates",), "leave nobody to escalate to", fix))
    if asked.accept == "checks" and "next" not in (
        checks.empty,
        checks.truncated,
        checks.invalid,
        checks.unread,
    ):
        fix = "Give the route checks that say `next`: checks: {invalid: next}"
        raise SettingsError(Problem(("cascade", "accept"), "has no check to go by", fix))
