"""The process that scores answers for a call worker: what it needs (numpy, scipy) stays out of the
worker's memory, and its work off the worker's event loop.

It reads and writes frames (`workers/score_frames.py`) on standard input and output, asks nobody
and knows nothing but the models that it is handed; it ends when its worker does.
"""

import base64
import math
import sys
from typing import BinaryIO

import msgspec

from core.ports import Scored
from routing.models.acceptance import Acceptance
from routing.models.file import load_choice
from workers.score_frames import LENGTH, Answers, Batch, Scores, framed


def score(acceptance: Acceptance, asked: list[Answers]) -> list[Scored | None]:
    """All answers in one go; None where none is of a candidate that the cascade asks."""
    judged = acceptance.judge([one.prompt for one in asked], [one.answers for one in asked])
    told: list[Scored | None] = []
    for likely, gain in zip(judged.likely.tolist(), judged.gain.tolist(), strict=True):
        named = {
            name: share
            for name, share in zip(acceptance.asked, likely, strict=True)
            if not math.isnan(share)
        }
        told.append(Scored(named, gain, acceptance.least) if named else None)
    return told


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answers frame by frame until there are no more."""
    models: dict[int, Acceptance | None] = {}
    while len(head := source.read(LENGTH.size)) == LENGTH.size:
        batch = msgspec.json.decode(source.read(*LENGTH.unpack(head)), type=Batch)
        if batch.body:
            models[batch.model] = load_choice(base64.b64decode(batch.body)).acceptance
        acceptance = models.get(batch.model)
        nothing: list[Scored | None] = [None] * len(batch.asked)
        told = nothing if acceptance is None else score(acceptance, batch.asked)
        sink.write(framed(Scores(told)))
        sink.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
