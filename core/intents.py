"""What a route's requests may be about, and what follows from it."""

from typing import Literal

from pydantic import Field, model_validator

from core.strict import Name, Problem, SettingsError, Strict

OUT_OF_SCOPE = "out_of_scope"
UNCLEAR = "unclear"


class IntentSettings(Strict):
    """An intent: what is said of it to people and models, examples of prompts that have it, and
    the `route` for these, without which they stay on their own. `question` is asked where it is
    the likeliest of several. `actions` are what may be done about such prompts; the first one is
    done where another one would be."""

    description: str = ""
    examples: list[str] = Field(default_factory=list)
    route: Name | None = None
    question: str = ""
    actions: list[Literal["answer", "clarify", "reject"]] = Field(
        default=["answer", "clarify"], min_length=1
    )


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

    Either the router model `model`, trained on examples, which is asked where requests are routed
    and asks again where its prediction sets at the error `level` hold more than one intent. Its
    own intents file holds where there is no `file`. Or the deployment `llm`, asked for the intents
    of `file`: one small call a request, in a linked job that spends the same budget.
    `json_schema: false` is for servers that know no structured output.

    `out_of_scope` requests are rejected without a call, or go to a route; `ambiguous` ones ask for
    clarification, or are answered on their own route. So are those that could not be classified.
    """

    model: Name | None = None
    level: float = Field(default=0.05, gt=0, lt=1)
    llm: Name | None = None
    file: IntentFile | None = None
    json_schema: bool = True
    out_of_scope: Literal["reject"] | Name = "reject"
    ambiguous: Literal["clarify", "answer"] = "clarify"

    @model_validator(mode="after")
    def _one_tells(self) -> "IntentsSettings":
        if (self.model is None) == (self.llm is None):
            fix = "Name a router model (model: NAME) or a deployment that is asked (llm: NAME)"
            raise SettingsError(Problem((), "needs one of model and llm", fix))
        if self.llm is not None and self.file is None:
            fix = "Name a file with the intents: file: intents.yaml"
            raise SettingsError(Problem(("file",), "is missing, and llm is asked by it", fix))
        given = self.model_fields_set
        strange = "level" if self.llm is not None else "json_schema"
        if strange in given:
            fix = f"Leave it out; it is for {'model' if self.llm is not None else 'llm'}"
            raise SettingsError(Problem((strange,), "counts for nothing here", fix))
        return self
