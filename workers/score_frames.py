"""What a call worker and the process that scores answers for it say to each other: JSON, each
frame behind its length in four bytes."""

import struct
from typing import Final

import msgspec

LENGTH: Final = struct.Struct("!I")


class Answers(msgspec.Struct):
    """What candidates have answered to one prompt."""

    prompt: str
    answers: list[str]


class Batch(msgspec.Struct):
    """Answers to score by a model. `body` is its file in base64 the first time that it is asked,
    and empty afterwards."""

    model: int
    asked: list[Answers]
    body: str = ""


class Scores(msgspec.Struct):
    """For each prompt of a batch the probabilities of its answers. Without a `threshold` the model
    judges no answers."""

    scores: list[list[float]]
    threshold: float | None


def framed(said: Batch | Scores) -> bytes:
    """As it goes over the pipe."""
    data = msgspec.json.encode(said)
    return LENGTH.pack(len(data)) + data
