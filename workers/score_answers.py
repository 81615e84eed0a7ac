"""The process that scores answers for a call worker: what it needs (numpy, scipy) stays out of the
worker's memory, and its work off the worker's event loop.

It reads and writes frames (`workers/score_frames.py`) on standard input and output, asks nobody
and knows nothing but the models that it is handed; it ends when its worker does.
"""

import base64
import sys
from typing import BinaryIO

import msgspec

from routing.models.acceptance import Acceptance, agreement
from routing.models.file import load_choice
from workers.score_frames import LENGTH, Answers, Batch, Scores, framed


def score(acceptance: Acceptance, asked: list[Answers]) -> list[list[float]]:
    """All answers in one go."""
    prompts = [one.prompt for one in asked for _ in one.answers]
    answers = [answer for one in asked for answer in one.answers]
    agree = [
        agreement(answer, one.answers[:place] + one.answers[place + 1 :])
        for one in asked
        for place, answer in enumerate(one.answers)
    ]
    told = iter(acceptance.accept_all(prompts, answers, agree).tolist())
    return [[next(told) for _ in one.answers] for one in asked]


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answers frame by frame until there are no more."""
    models: dict[int, Acceptance | None] = {}
    while len(head := source.read(LENGTH.size)) == LENGTH.size:
        batch = msgspec.json.decode(source.read(*LENGTH.unpack(head)), type=Batch)
        if batch.body:
            models[batch.model] = load_choice(base64.b64decode(batch.body)).acceptance
        acceptance = models.get(batch.model)
        told = Scores([], None)
        if acceptance is not None:
            told = Scores(score(acceptance, batch.asked), acceptance.threshold)
        sink.write(framed(told))
        sink.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
