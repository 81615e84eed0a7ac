"""Which encoder a model of intents is trained with, and the one that a trained model needs."""

from pathlib import Path
from typing import Final

from core.errors import InputError
from routing.models.encoder import WORDS, Encoder
from routing.models.intent import IntentModel
from tasks.encoders.onnx import OnnxEncoder
from tasks.encoders.words import WordVectors

NONE: Final = "none"


def find_encoder(name: str) -> Encoder | None:
    """`words`, a folder with an ONNX model, or `none`. Raises InputError where it is missing."""
    if name == NONE:
        return None
    return WordVectors() if name == WORDS else OnnxEncoder(Path(name))


def with_encoder(model: IntentModel) -> IntentModel:
    """The model, with its encoder at work where it was trained with one.

    Raises InputError where that is not there any more, or another one is.
    """
    if model.spec is None:
        return model
    encoder = find_encoder(model.spec.name)
    if encoder is None or encoder.spec.digest != model.spec.digest:
        raise InputError(
            f"The encoder {model.spec.name} is not the one that the intents were trained with. "
            "Put that one back, or train again"
        )
    return model.using(encoder)
