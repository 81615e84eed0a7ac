"""A route: who may answer, and how one of them is chosen."""

import json
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from core.cascade import CascadeSettings, check_cascade, check_threshold
from core.checks import Checks, Policy
from core.intents import IntentsSettings
from core.router import RouterSettings, check_router
from core.strict import Name, Problem, SettingsError, Strict, suggest


class CheckSettings(Strict):
    """What an answer has to be to count, and what follows where it is not: the same candidate
    again (`retry`), the `next` one, or the request fails (`fail`). `unread` is an answer to a
    prompt that the server cut without a word. `invalid` is one that is not JSON, or not what
    `json_schema` says: a schema, or `request` for the one that the request's own
    `response_format` has. In a file `json_schema` may name another file."""

    empty: Policy = "accept"
    truncated: Policy = "accept"
    unread: Policy = "accept"
    invalid: Policy | None = None
    json_schema: dict[str, Any] | Literal["request"] | None = None

    @model_validator(mode="after")
    def _schema_counts(self) -> "CheckSettings":
        if self.json_schema is not None and self.invalid == "accept":
            fix = "Write invalid: next (or retry, or fail), or leave the schema out"
            raise SettingsError(
                Problem(("json_schema",), "counts for nothing: what is invalid is accepted", fix)
            )
        return self

    def resolved(self) -> Checks:
        """As plans carry them."""
        schema = self.json_schema
        text = json.dumps(schema, sort_keys=True) if isinstance(schema, dict) else schema
        invalid = self.invalid or ("accept" if schema is None else "next")
        return Checks(self.empty, self.truncated, invalid, text, self.unread)


class RouteSettings(Strict):
    """Who may answer, and which of them is chosen: `choose` is a policy of
    `routing/policies.py`, applied when there is work, or goes by what the model of `router`
    predicts of each request (core/router.py), or asks cheap candidates first and dearer ones
    where their answer is not enough (core/cascade.py). `intents` is what requests may be about
    (core/intents.py). `weights` are shares by candidate.
    Requests that were too long or refused go to deployments of their own lists, where there are
    some. `max_output` (tokens) holds for requests without a limit of their own; `max_attempts`
    counts over all candidates.
    """

    candidates: list[Name] = Field(min_length=1)
    choose: Literal[
        "ordered",
        "cheapest",
        "fastest",
        "weighted",
        "least_busy",
        "spread",
        "fixed",
        "threshold",
        "cascade",
        "optimize",
    ] = "ordered"
    router: RouterSettings | None = None
    intents: IntentsSettings | None = None
    cascade: CascadeSettings | None = None
    weights: dict[Name, float] = Field(default_factory=dict)
    too_long: list[Name] = Field(default_factory=list)
    refused: list[Name] = Field(default_factory=list)
    max_output: int = Field(default=4096, gt=0)
    max_attempts: int = Field(default=6, ge=1, le=100)
    checks: CheckSettings = CheckSettings()

    @field_validator("candidates", "too_long", "refused")
    @classmethod
    def _names_each_once(cls, value: list[str]) -> list[str]:
        again = [place for place, name in enumerate(value) if name in value[:place]]
        if again:
            fix = "Name each deployment once; weights and limits say how much it gets"
            raise SettingsError(
                *(Problem((place,), f"{value[place]} is there already", fix) for place in again)
            )
        return value

    @model_validator(mode="after")
    def _has_the_router_it_goes_by(self) -> "RouteSettings":
        learned = self.cascade is None or self.cascade.accept == "learned"
        check_router(self.choose, self.router, needed=learned)
        check_threshold(self.cascade, aimed=self.router is not None and self.router.aims)
        check_cascade(self.choose, self.cascade, len(self.candidates), self.checks.resolved())
        return self

    @model_validator(mode="after")
    def _weighs_its_candidates(self) -> "RouteSettings":
        if self.choose != "weighted":
            if self.weights:
                fix = "Write choose: weighted, or leave the weights out"
                raise SettingsError(Problem(("weights",), "count only for weighted", fix))
            return self
        problems = [
            Problem(("weights", name), "is no candidate", suggest(name, self.candidates))
            for name in self.weights
            if name not in self.candidates
        ]
        problems += [
            Problem(("weights",), f"{name} has none", f"Add {name}: 1, or 0 for a mere fallback")
            for name in self.candidates
            if name not in self.weights
        ]
        problems += [
            Problem(("weights", name), f"{weight:g} is no share", "Give a number from 0 to 1000")
            for name, weight in self.weights.items()
            if not 0 <= weight <= 1000
        ]
        if not problems and not any(self.weights.values()):
            problems = [Problem(("weights",), "are all 0", "Give at least one candidate a share")]
        if problems:
            raise SettingsError(*problems)
        return self
