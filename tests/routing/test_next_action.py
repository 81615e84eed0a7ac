"""What is done about a prompt follows from how sure the model is."""

import json
from typing import Any

import numpy as np
import pytest

from core.intents import IntentFile
from routing.asked_intents import clarification
from routing.models.intent import Intents
from routing.next_action import Answer, Clarify, Reject, next_actions

NAMES = ("a", "b", "c", "d", "e")
SURE = (0.9, 0.05, 0.03, 0.01, 0.01)
EITHER = (0.1, 0.42, 0.4, 0.04, 0.04)
ANYTHING = (0.2, 0.22, 0.21, 0.19, 0.18)


def told(probability: tuple[float, ...], *, outside: bool = False) -> Intents:
    return Intents(
        names=NAMES,
        probability=np.array([probability], np.float32),
        strangeness=np.zeros(1, np.float32),
        outside=np.array([outside]),
        # At a level of 0.1 what has 0.15 or more is in a prediction set.
        nonconformity=np.linspace(0, 0.85, 9).astype(np.float32),
    )


def file(**intents: Any) -> IntentFile:
    return IntentFile.model_validate({"intents": {name: {} for name in NAMES} | intents})


@pytest.mark.parametrize(
    ("probability", "action"),
    [
        (SURE, Answer("a", 0.9)),
        (EITHER, Clarify(("b", "c"), (0.42, 0.4))),
        (ANYTHING, Clarify(("b", "c", "a"), (0.22, 0.21, 0.2))),
    ],
)
def test_one_is_answered_and_several_are_asked_about(
    probability: tuple[float, ...], action: object
) -> None:
    assert [*next_actions(told(probability), 0.1, file())] == [action]


def test_what_is_out_of_scope_is_kept_out_however_it_looks() -> None:
    assert [*next_actions(told(SURE, outside=True), 0.1, file())] == [Reject(None, 0.9)]


@pytest.mark.parametrize(
    ("probability", "actions", "action"),
    [
        (SURE, ["reject"], Reject("a", 0.9)),
        (SURE, ["clarify"], Clarify(("a", "b"), (0.9, 0.05))),
        (EITHER, ["answer"], Answer("b", 0.42)),
        (EITHER, ["reject", "clarify"], Clarify(("b", "c"), (0.42, 0.4))),
    ],
)
def test_an_intent_says_what_may_be_done_about_it(
    probability: tuple[float, ...], actions: list[str], action: object
) -> None:
    intents = file(a={"actions": actions}, b={"actions": actions})
    assert [*next_actions(told(probability), 0.1, intents)] == [action]


def test_nothing_is_done_about_nothing() -> None:
    none = Intents(
        names=NAMES,
        probability=np.zeros((0, 5), np.float32),
        strangeness=np.zeros(0, np.float32),
        outside=np.zeros(0, bool),
        nonconformity=np.zeros(0, np.float32),
    )
    assert [*next_actions(none, 0.1, file())] == []


def test_the_question_is_the_intents_own_or_made_of_descriptions() -> None:
    intents = file(a={"description": "You lost it"}, b={"question": "Lost, or stolen?"})
    made = json.loads(clarification(("a", "c"), intents, (0.5, 0.25)))
    assert made["question"] == "Which of these is it: You lost it; or c?"
    assert [one["probability"] for one in made["options"]] == [0.5, 0.25]
    assert json.loads(clarification(("b", "a"), intents))["question"] == "Lost, or stolen?"
