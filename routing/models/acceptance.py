"""Whether the cheap candidates' answers to a prompt are good enough, or the strong one is asked.

Two layers of linear models. The first tells from the prompt alone how likely each candidate is
right and what the strong one costs, and from the prompt with an answer how likely that answer is
right. The second weighs these, and who agrees with whom, into probabilities: one for each answer,
and one that the strong candidate would be right. What counts is the difference, per dollar.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import sparse

from routing.models.features import Featurizer
from routing.models.linear import Linear, logit, sigmoid
from routing.models.state import Array, Floats, State

_USUAL_LENGTH = 2.0  # ln(1 + characters): about where a word ends and a sentence begins


@dataclass(frozen=True, slots=True)
class Judged:
    """`likely` float32[n, k]: how likely each asked candidate's answer is right, NaN where it has
    given none. `gain` float32[n]: by how much likelier the strong candidate is right than the
    likeliest answer, over what it costs relative to its usual cost; NaN without any answer."""

    likely: Floats
    gain: Floats


@dataclass(frozen=True, slots=True)
class Weighing:
    """The second layer for one set of candidates that have answered: columns less `middle` over
    `spread` go through `map` to probabilities, the strong candidate's last."""

    middle: Floats
    spread: Floats
    map: Linear

    def apply(self, columns: Array) -> Floats:
        """float32[n, answers + 1] of the columns of `stacked`."""
        return sigmoid(self.map.apply(np.clip((columns - self.middle) / self.spread, -4, 4)))

    def state(self) -> State:
        """For the model file."""
        own = State({}, {"middle": self.middle, "spread": self.spread})
        return own.with_part("map", self.map.state())

    @classmethod
    def from_state(cls, state: State) -> "Weighing":
        """The weighing that gave this state."""
        arrays = state.arrays
        return cls(arrays["middle"], arrays["spread"], Linear.from_state(state.part("map")))


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A cascade and its scorer: the candidates `asked` answer first, `strong` where that is worth
    more than `least` (a gain, as `Judged` has it).

    `prompts` and `answers` turn texts into features. `foreseen` tells of a prompt each asked
    candidate's quality, the strong one's, and ln(its cost / its usual cost); `seen` tells of a
    prompt with an answer how good it is, by who gave it. `weighings` are by the bits of the asked
    candidates that have answered. `curve` float32[p, 3] has from least to most asked what a `least`
    came to on held-out rows: that, US dollars a prompt, mean quality. `info` can be told as JSON.
    """

    asked: tuple[str, ...]
    strong: str
    prompts: Featurizer
    answers: Featurizer
    foreseen: Linear
    seen: Linear
    weighings: Mapping[int, Weighing]
    least: float
    curve: Floats
    info: Mapping[str, Any]

    def least_for(self, quality: float | None = None, usd: float | None = None) -> float:
        """The `least` that reaches this mean quality at the least cost, or keeps this mean cost (US
        dollars a prompt) at the best quality; what comes nearest where none does, and without an
        aim the one from training."""
        if quality is not None:
            reached = np.maximum.accumulate(self.curve[:, 2])
            return float(np.interp(quality, reached, self.curve[:, 0]))
        if usd is not None:
            return float(np.interp(usd, self.curve[:, 1], self.curve[:, 0]))
        return self.least

    def judge(self, prompts: Sequence[str], answers: Sequence[Mapping[str, str]]) -> Judged:
        """Of each prompt the answers by candidate; those of others, and empty ones, tell
        nothing."""
        texts = [[given.get(name, "") for given in answers] for name in self.asked]
        blank: list[dict[str, str]] = [{}] * len(prompts)
        rows = self.prompts.matrix(prompts, blank)
        foreseen = self.foreseen.apply(rows)
        seen = np.column_stack(
            [
                self.seen.column(place, sparse.hstack([rows, self.answers.matrix(column, blank)]))
                for place, column in enumerate(texts)
            ]
        )
        bits = sum(
            np.array([bool(text) for text in column], np.int64) << place
            for place, column in enumerate(texts)
        )
        likely = np.full(seen.shape, np.nan, np.float32)
        better = np.full(len(prompts), np.nan, np.float32)
        for answered, weighing in self.weighings.items():
            at = np.flatnonzero(bits == answered)
            places = [place for place in range(len(self.asked)) if answered >> place & 1]
            if at.size:
                telling = Telling.of([[texts[place][row] for row in at] for place in places])
                held = stacked(foreseen[at][:, [*places, -2]], seen[at][:, places], telling)
                told = weighing.apply(held)
                likely[at[:, None], places] = told[:, :-1]
                better[at] = told[:, -1] - told[:, :-1].max(axis=1)
        return Judged(likely, np.asarray(better / np.exp(foreseen[:, -1]), np.float32))

    def state(self) -> State:
        """For the model file."""
        fields = {
            "asked": list(self.asked),
            "strong": self.strong,
            "least": self.least,
            "weighings": list(self.weighings),
            "info": dict(self.info),
        }
        own = State(fields, {"curve": self.curve})
        parts = {
            "prompts": self.prompts.state(),
            "answers": self.answers.state(),
            "foreseen": self.foreseen.state(),
            "seen": self.seen.state(),
            **{f"of.{bits}": one.state() for bits, one in self.weighings.items()},
        }
        for name, part in parts.items():
            own = own.with_part(name, part)
        return own

    @classmethod
    def from_state(cls, state: State) -> "Acceptance":
        """The scorer that gave this state."""
        fields = state.fields
        return cls(
            asked=tuple(fields["asked"]),
            strong=fields["strong"],
            prompts=Featurizer.from_state(state.part("prompts")),
            answers=Featurizer.from_state(state.part("answers")),
            foreseen=Linear.from_state(state.part("foreseen")),
            seen=Linear.from_state(state.part("seen")),
            weighings={
                bits: Weighing.from_state(state.part(f"of.{bits}")) for bits in fields["weighings"]
            },
            least=fields["least"],
            curve=state.arrays["curve"],
            info=fields["info"],
        )


@dataclass(frozen=True, slots=True)
class Telling:
    """What answers tell beside each other: `length` float32[n, k], ln(1 + characters); `agree`
    float32[n, pairs], 1 where the two of a pair say the same, else -1."""

    length: Floats
    agree: Floats

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]]) -> "Telling":
        """Of `texts` by candidate, each as many."""
        length = np.log1p([[len(text) for text in column] for column in texts]).T
        essences = [[essence(text) for text in column] for column in texts]
        same = [
            [1.0 if one == other != "" else -1.0 for one, other in zip(*pair, strict=True)]
            for pair in combinations(essences, 2)
        ]
        agree = np.array(same, np.float32).reshape(len(same), len(texts[0])).T
        return cls(np.asarray(length, np.float32), agree)

    def take(self, places: Sequence[int]) -> "Telling":
        """Of some of the candidates only, ascending."""
        pairs = list(combinations(range(self.length.shape[1]), 2))
        kept = [at for at, pair in enumerate(pairs) if set(pair) <= set(places)]
        return Telling(self.length[:, list(places)], self.agree[:, kept])


def stacked(foreseen: Floats, seen: Floats, telling: Telling) -> Floats:
    """float32[n, columns] for the second layer: `foreseen` float[n, k + 1] with the strong one
    last, `seen` float[n, k]. What it means that two agree depends on what kind of answers they
    are, and on how hard the prompt is."""
    strong = logit(foreseen[:, -1:])
    credible, length = logit(seen), telling.length - _USUAL_LENGTH
    blocks = [logit(foreseen[:, :-1]), credible, length, strong]
    for place, (one, other) in enumerate(combinations(range(seen.shape[1]), 2)):
        both = telling.agree[:, place : place + 1]
        beside = [credible[:, [one, other]], length[:, [one, other]], strong]
        blocks += [both, *(both * block for block in beside)]
    return np.asarray(np.hstack(blocks), np.float32)


def essence(answer: str) -> str:
    """What an answer comes down to when case, space and outer punctuation do not count; of a
    long one its last line."""
    lines = [line for line in answer.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return " ".join(last.lower().split()).strip(" .,:;!?*\"'`()[]{}\\")
