"""Vectors of texts by what they mean: who makes them, and how a model reads them.

Encoders read files and are made elsewhere (`tasks/encoders`); a stored model says which one it
needs, and has it at work once it was given it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np

from core.errors import InputError
from routing.models.hashing import ends
from routing.models.state import Floats, State

WORDS: Final = "words"
"""The encoder that comes along."""
MOST_CHARACTERS: Final = 2_000
"""Of a prompt: what a longer one is about stands at its beginning or at its end."""


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Which encoder a model was trained with: `words` or an operator's folder, the SHA-256 of its
    weights, and how many numbers it gives for a text."""

    name: str
    digest: str
    width: int


class Encoder(Protocol):
    """Texts as vectors of their meaning."""

    @property
    def spec(self) -> EncoderSpec:
        """Which one it is."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """float32[n, width], rows of length 1; or of zeros, where nothing is said."""
        ...


def at_work(spec: EncoderSpec, encoder: Encoder | None) -> Encoder:
    """The encoder that a model was trained with. Raises InputError where it was given none."""
    if encoder is None:
        raise InputError(f"The model needs its encoder {spec.name}, which is not loaded")
    return encoder


@dataclass(frozen=True, slots=True)
class Vectors:
    """An encoder's vectors as features: each less `middle`, float32[width], the mean of those of
    the training data, and then of length 1."""

    spec: EncoderSpec
    middle: Floats
    encoder: Encoder | None = field(default=None, compare=False)

    @classmethod
    def fit(cls, encoder: Encoder, prompts: Sequence[str]) -> "Vectors":
        """Learns the mean."""
        told = encoder.encode(looked_at(prompts))
        return cls(encoder.spec, told.mean(axis=0), encoder)

    def using(self, encoder: Encoder) -> "Vectors":
        """With the encoder at work."""
        return replace(self, encoder=encoder)

    def rows(self, prompts: Sequence[str]) -> Floats:
        """float32[n, width]. Raises InputError where the encoder is not at work."""
        apart = at_work(self.spec, self.encoder).encode(looked_at(prompts)) - self.middle
        lengths = np.linalg.norm(apart, axis=1, keepdims=True)
        return np.asarray(apart / np.maximum(lengths, 1e-9), np.float32)

    def state(self) -> State:
        """For the model file."""
        spec = self.spec
        return State({"encoder": [spec.name, spec.digest, spec.width]}, {"middle": self.middle})

    @classmethod
    def from_state(cls, state: State) -> "Vectors":
        """What gave this state, its encoder not yet at work."""
        return cls(EncoderSpec(*state.fields["encoder"]), state.arrays["middle"])


def looked_at(texts: Sequence[str]) -> list[str]:
    """What an encoder, and a model of intents, reads of the texts."""
    return [ends(text, MOST_CHARACTERS) for text in texts]
