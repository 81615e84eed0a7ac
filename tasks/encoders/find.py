"""Which encoder a model is trained with, and the one that a stored model needs."""

from functools import cache
from pathlib import Path
from typing import Final, Protocol, Self, TypeVar

from core.errors import InputError
from routing.models.encoder import WORDS, Encoder, EncoderSpec
from routing.models.file import Stored, load
from tasks.encoders.onnx import OnnxEncoder
from tasks.encoders.words import WordVectors

NONE: Final = "none"


class Reader(Protocol):
    """A model that may need an encoder."""

    @property
    def spec(self) -> EncoderSpec | None:
        """Which one."""
        ...

    def using(self, encoder: Encoder) -> Self:
        """With its encoder at work."""
        ...


AnyReader = TypeVar("AnyReader", bound=Reader)


def find_encoder(name: str) -> Encoder | None:
    """`words`, a folder with an ONNX model, or `none`. Raises InputError where it is missing."""
    if name == NONE:
        return None
    return word_vectors() if name == WORDS else OnnxEncoder(Path(name))


@cache
def word_vectors() -> WordVectors:
    """Those of this process: 45 MB that all models share. Raises InputError."""
    return WordVectors()


def with_encoder(model: AnyReader) -> AnyReader:
    """The model, with its encoder at work where it was trained with one.

    Raises InputError where that is not there any more, or another one is.
    """
    if model.spec is None:
        return model
    encoder = find_encoder(model.spec.name)
    if encoder is None or encoder.spec.digest != model.spec.digest:
        raise InputError(
            f"The encoder {model.spec.name} is not the one that the model was trained with. "
            "Put that one back, or train again"
        )
    return model.using(encoder)


def load_ready(body: bytes) -> Stored:
    """The model of these bytes, ready to predict. Raises InputError."""
    return with_encoder(load(body))
