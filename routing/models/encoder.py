"""Vectors of texts by what they mean: who makes them, and of which texts.

Encoders read files and are made elsewhere (`tasks/encoders`); a stored model says which one it
needs, and has it at work once it was given it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from routing.models.hashing import ends
from routing.models.state import Floats

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


def looked_at(texts: Sequence[str]) -> list[str]:
    """What an encoder, and a model of intents, reads of the texts."""
    return [ends(text, MOST_CHARACTERS) for text in texts]
