"""What to do about a prompt: answer it, ask what it means, or keep it out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from core.intents import IntentFile, IntentSettings
from routing.models.intent import Intents

OPTIONS: Final = 3
"""Intents that people are asked to choose among, at most."""
_USUAL: Final = IntentSettings()


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
    sizes = told.sets(level).sum(axis=1).tolist()
    order = np.argsort(-told.probability, axis=1, kind="stable")[:, :OPTIONS]
    likely = np.take_along_axis(told.probability, order, axis=1).tolist()
    allowed = [_allowed(file, name) for name in told.names]
    for size, outside, places, sure in zip(
        sizes, told.outside.tolist(), order.tolist(), likely, strict=True
    ):
        first, probability = told.names[places[0]], round(sure[0], 4)
        wanted = "reject" if outside else "answer" if size <= 1 else "clarify"
        if wanted not in allowed[places[0]] and not outside:
            wanted = allowed[places[0]][0]
        if wanted == "answer":
            yield Answer(first, probability)
        elif wanted == "clarify":
            most = max(2, min(size, OPTIONS))
            names = tuple(told.names[place] for place in places[:most])
            yield Clarify(names, tuple(round(one, 4) for one in sure[:most]))
        else:
            yield Reject(None if outside else first, probability)


def _allowed(file: IntentFile, name: str) -> Sequence[str]:
    """The actions that an intent allows; as by default where nobody has said anything of it."""
    return file.intents[name].actions if name in file.intents else _USUAL.actions
