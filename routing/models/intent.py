"""What a prompt is about: a trained model's answer, with how sure it is.

`routing/training/intent.py` makes these; this module only applies them, and imports nothing
that takes long to load.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from core.intents import IntentFile
from routing.models.encoder import Encoder, EncoderSpec, at_work, looked_at
from routing.models.features import Featurizer
from routing.models.state import Floats, State
from routing.models.strangeness import Surroundings, strangeness

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Intents:
    """Rows are prompts, columns the model's intents in its order.

    `probability` float32[n, m], rows sum to 1; `strangeness` float32[n], the higher the less a
    prompt is like any intent; `outside` bool[n], what is beyond the model's threshold.
    `nonconformity` float32[k] is that of calibration prompts, ascending.
    """

    names: tuple[str, ...]
    probability: Floats
    strangeness: Floats
    outside: Flags
    nonconformity: Floats

    def sets(self, level: float) -> Flags:
        """bool[n, m]: prediction sets that hold the true intent but for a share `level`.

        Split conformal prediction with 1 - p(true) as nonconformity (Sadinle, Lei and Wasserman
        2019). The likeliest intent is always in; without calibration prompts, all are.
        """
        most = quantile(self.nonconformity, level)
        sets = self.probability >= 1 - most - 1e-7
        if len(sets):
            sets[np.arange(len(sets)), self.probability.argmax(axis=1)] = True
        return sets


def quantile(nonconformity: Floats, level: float) -> float:
    """The ⌈(k + 1)(1 - level)⌉-th lowest of k; 1 where that is beyond them."""
    place = math.ceil((nonconformity.size + 1) * (1 - level)) - 1
    return float(nonconformity[place]) if place < nonconformity.size else 1.0


@dataclass(frozen=True, slots=True)
class IntentModel:
    """A linear classifier over words, runs of characters and perhaps an encoder's vectors.

    `slopes` float32[width, m] and `level` float32[m] give a margin for each intent, the softmax
    of which over `temperature` (1 but in older models) is its probability; and one more, where
    there were examples to learn it from, for what is out of scope. How strange a prompt is follows
    from these, and from how far its vector is from those `around` the likeliest intent. `file` is
    what operators have said of the intents.
    """

    kind: ClassVar[str] = "intent"

    intents: tuple[str, ...]
    featurizer: Featurizer
    slopes: Floats
    level: Floats
    temperature: float
    threshold: float
    nonconformity: Floats
    file: IntentFile
    info: Mapping[str, Any]
    spec: EncoderSpec | None = None
    pull: float = 0.0
    """What an encoder's vector is multiplied by; 1 but in models of before their own slopes held
    its weight."""
    around: Surroundings | None = None
    encoder: Encoder | None = field(default=None, compare=False)

    def using(self, encoder: Encoder) -> "IntentModel":
        """With its encoder at work."""
        return replace(self, encoder=encoder)

    def predict(self, texts: Sequence[str]) -> Intents:
        """What the texts are about. Raises InputError where the encoder is not at work."""
        texts = looked_at(texts)
        vectors = None if self.spec is None else at_work(self.spec, self.encoder).encode(texts)
        told = self._margins(texts, vectors)
        margins, others = np.split(told, [len(self.intents)], axis=1)
        distance = self._distance(vectors, margins)
        strange = strangeness(margins, distance, others[:, 0] if others.size else None)
        return Intents(
            names=self.intents,
            probability=softmax(margins / np.float32(self.temperature)),
            strangeness=strange,
            outside=strange > self.threshold,
            nonconformity=self.nonconformity,
        )

    def _margins(self, texts: Sequence[str], vectors: Floats | None) -> Floats:
        """float32[n, m], or [n, m + 1] where what is out of scope was learned."""
        width = self.featurizer.width
        words = self.slopes[:width]
        margins = np.tile(self.level, (len(texts), 1))
        done = 0
        for rows in self.featurizer.rows(texts, [{}] * len(texts)):
            # By columns each feature's slopes are read once for all the prompts that have it.
            margins[done : done + rows.shape[0]] += rows.tocsc() @ words
            done += rows.shape[0]
        if vectors is not None:
            margins += vectors @ (self.slopes[width:] * np.float32(self.pull))
        return margins

    def _distance(self, vectors: Floats | None, margins: Floats) -> Floats | None:
        """float32[n] from the likeliest intents, where the model knows where these lie."""
        if vectors is None or self.around is None:
            return None
        return self.around.distance(vectors, margins.argmax(axis=1))

    def state(self) -> State:
        """For the model file."""
        fields: dict[str, Any] = {
            "intents": list(self.intents),
            "temperature": self.temperature,
            "threshold": self.threshold,
            "file": self.file.model_dump(exclude_defaults=True),
            "info": dict(self.info),
            "pull": self.pull,
        }
        if self.spec is not None:
            spec = self.spec
            fields["encoder"] = [spec.name, spec.digest, spec.width]
        arrays = {
            "slopes": self.slopes,
            "level": self.level,
            "nonconformity": self.nonconformity,
        }
        state = State(fields, arrays).with_part("features", self.featurizer.state())
        return state if self.around is None else state.with_part("around", self.around.state())

    @classmethod
    def from_state(cls, state: State) -> "IntentModel":
        """The model that gave this state, its encoder not yet at work."""
        fields, arrays = state.fields, state.arrays
        return cls(
            intents=tuple(fields["intents"]),
            featurizer=Featurizer.from_state(state.part("features")),
            slopes=arrays["slopes"],
            level=arrays["level"],
            temperature=fields["temperature"],
            threshold=fields["threshold"],
            nonconformity=arrays["nonconformity"],
            file=IntentFile.model_validate(fields["file"]),
            info=fields["info"],
            spec=EncoderSpec(*fields["encoder"]) if "encoder" in fields else None,
            pull=fields["pull"],
            around=Surroundings.from_state(state.part("around")) if "around" in fields else None,
        )


def softmax(margins: Floats) -> Floats:
    """float32[n, m], rows sum to 1."""
    raised = np.exp(margins - margins.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)
