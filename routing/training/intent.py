"""Training what tells intents apart, on examples of each.

Linear classifiers (`routing/training/heads.py`) of words, pairs of words and runs of characters,
and of an encoder's vectors. What each weighs, probabilities, prediction sets and the threshold for
what is out of scope come from prompts that they have not seen: the calibration part of the data,
or else cross-validation (`routing/training/lesson.py`).
"""

import numpy as np

from core.intents import IntentFile
from routing.models.encoder import Encoder
from routing.models.intent import IntentModel, softmax
from routing.training.examples import IntentData
from routing.training.heads import Heads, weigh
from routing.training.lesson import lesson_of, unseen
from routing.training.out_of_scope import LOST, Seen, figures, threshold
from routing.training.thread_limit import on_one_thread


@on_one_thread
def train_intents(data: IntentData, encoder: Encoder | None = None, seed: int = 0) -> IntentModel:
    """A model of the intents in the data. Raises ValueError where there are fewer than two, or
    too few examples of one."""
    lesson = lesson_of(data, encoder)
    names = lesson.names
    heads = Heads.fit(lesson.rows, lesson.places, len(names), seed)
    asked = unseen(lesson, heads, seed)
    truth = asked.truth
    weights = weigh(asked.told.margins, truth)
    learned = heads.blended(weights)
    margins, strange = asked.told.blended(weights)
    _, outside = asked.outside.blended(weights)
    seen = Seen(margins.argmax(axis=1) == truth, strange, outside)
    beyond = threshold(seen)
    sure = softmax(margins)[np.arange(len(truth)), truth]
    return IntentModel(
        intents=names,
        featurizer=lesson.reader.featurizer,
        slopes=learned.slopes,
        level=learned.level,
        temperature=1.0,  # is in the weights
        threshold=beyond,
        nonconformity=np.sort(1 - sure).astype(np.float32),
        file=data.file or IntentFile.model_validate({"intents": {name: {} for name in names}}),
        info={
            "intents": len(names),
            "examples": len(data.train),
            "calibrated_by": "held back" if len(lesson.held) else "cross-validation",
            "calibration": len(truth),
            "out_of_scope": _outside_told(len(data.train.outside) + len(lesson.held.outside)),
            "encoder": encoder.spec.name if encoder else "none",
            "routes": sorted(_routes(data.file)),
            **{key: round(value, 4) for key, value in figures(seen, beyond).items()},
            **data.told,
        },
        spec=encoder.spec if encoder else None,
        pull=1.0,
        around=heads.around,
        encoder=encoder,
    )


def _outside_told(strangers: int) -> str:
    if strangers:
        return f"{strangers} examples"
    return f"none given: the strangest {LOST:.0%} of prompts are taken for it"


def _routes(file: IntentFile | None) -> set[str]:
    return {one.route for one in file.intents.values() if one.route} if file else set()
