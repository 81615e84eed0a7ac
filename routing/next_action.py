"""What to do about a prompt: answer it, ask what it means, or keep it out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from core.intents import IntentFile, IntentSettings
from routing.models.intent import Intents

OPTIONS: Final = 3
"""Intents that people are asked to choose among, at most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The prompt has this intent, with this probability."""

    intent: str
    probability: float


@dataclass(frozen=True, slots=True)
class Clarify:
    """It may have any of these, the likeliest first; their probabilities in step."""

    intents: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """It has none of the intents, or one (`intent`) that is not to be answered. `probability`
    is that of the likeliest."""

    intent: str | None
    probability: float


Action: TypeAlias = Answer | Clarify | Reject


def next_actions(told: Intents, level: float, file: IntentFile) -> Iterator[Action]:
    """For each prompt in order, so that a share `level` at most of the prompts with an intent
    gets neither the right answer nor the right option.

    Beyond the threshold a prompt is kept out. An intent alone in its prediction set is answered.
    Of two or three, and of the three likeliest of more, somebody has to choose; whoever means a
    fourth says so in words of their own. What the likeliest intent does not allow (`actions`)
    becomes the first thing that it does.
    """
    sizes = told.sets(level).sum(axis=1)
    order = np.argsort(-told.probability, axis=1, kind="stable")[:, :OPTIONS]
    for row, outside in enumerate(told.outside.tolist()):
        offered = order[row, : max(2, min(int(sizes[row]), OPTIONS))]
        names = tuple(told.names[place] for place in offered)
        likely = tuple(round(float(told.probability[row, place]), 4) for place in offered)
        wanted = "reject" if outside else "answer" if sizes[row] <= 1 else "clarify"
        allowed = file.intents.get(names[0], IntentSettings()).actions
        if wanted not in allowed and not outside:
            wanted = allowed[0]
        if wanted == "answer":
            yield Answer(names[0], likely[0])
        elif wanted == "clarify":
            yield Clarify(names, likely)
        else:
            yield Reject(None if outside else names[0], likely[0])
