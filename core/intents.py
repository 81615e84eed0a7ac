"""What a route's requests may be about, and what follows from it."""

from typing import Literal

from pydantic import Field, model_validator

from core.strict import Name, Problem, SettingsError, Strict

OUT_OF_SCOPE = "out_of_scope"
UNCLEAR = "unclear"


class IntentSettings(Strict):
    """An intent: what is said of it to people and models, examples of prompts that have it, and
    the `route` for these, without which they stay on their own."""

    description: str = ""
    examples: list[str] = Field(default_factory=list)
    route: Name | None = None


class IntentFile(Strict):
    """What an intents file holds: intents by name, and examples of what is none of them."""

    intents: dict[str, IntentSettings] = Field(min_length=1)
    out_of_scope: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_are_free(self) -> "IntentFile":
        for name in (OUT_OF_SCOPE, UNCLEAR):
            if name in self.intents:
                raise SettingsError(
                    Problem(("intents", name), "is what no intent is called", "Name it otherwise")
                )
        return self


class IntentsSettings(Strict):
    """How the intents of a route's requests are found out, and what follows.

    The deployment `llm` is asked for the intents of `file`: one small call a request, in a linked
    job that spends the same budget. `json_schema: false` is for servers that know no structured
    output. `out_of_scope` requests are rejected without a call, or go to a route; `ambiguous` ones
    ask for clarification, or are answered on their own route. So are those that could not be
    classified.
    """

    llm: Name
    file: IntentFile
    json_schema: bool = True
    out_of_scope: Literal["reject"] | Name = "reject"
    ambiguous: Literal["clarify", "answer"] = "clarify"
