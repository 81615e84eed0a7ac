"""What a call worker and the process that scores answers for it say to each other: JSON, each
frame behind its length in four bytes."""

import struct
from typing import Final

import msgspec

from core.ports import Scored

LENGTH: Final = struct.Struct("!I")


class Answers(msgspec.Struct):
    """What candidates have answered to one prompt, by name."""

    prompt: str
    answers: dict[str, str]


class Batch(msgspec.Struct):
    """Answers to score by a model. `body` is its file in base64 the first time that it is asked,
    and empty afterwards."""

    model: int
    asked: list[Answers]
    body: str = ""


class Scores(msgspec.Struct):
    """For each prompt of a batch what its answers are worth; None where that cannot be told."""

    scores: list[Scored | None]


def framed(said: Batch | Scores) -> bytes:
    """As it goes over the pipe."""
    data = msgspec.json.encode(said)
    return LENGTH.pack(len(data)) + data
