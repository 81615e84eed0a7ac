"""Training and measuring what chooses among candidates, on tables of judged prompts."""

import hashlib
import time
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from batchyard.judged.recognise import Seen, Wanted, recognise
from batchyard.judged.tables import Table, rows_of, take_rows
from core.errors import InputError
from routing.labelled import Labelled
from routing.measuring.drift import portrait
from routing.models.choice import ChoiceModel
from routing.models.encoder import WORDS
from routing.training.acceptance import train_acceptance
from routing.training.choice import train_choice
from tasks.encoders.find import find_encoder


@dataclass(frozen=True, slots=True)
class Sample:
    """How many of the rows to train on (0: all), drawn by a seed."""

    labels: int = 0
    seed: int = 0

    def of(self, table: Table) -> Table:
        """The rows drawn. Raises InputError where there are not as many."""
        rows = rows_of(table)
        if self.labels > rows:
            raise InputError(f"--labels {self.labels}: the data have {rows} rows.")
        if not self.labels:
            return table
        drawn = np.random.default_rng(self.seed).permutation(rows)[: self.labels]
        return take_rows(table, sorted(drawn.tolist()))


def train_on(
    table: Table, wanted: Wanted, sample: Sample, encoder: str = WORDS
) -> tuple[ChoiceModel, Seen]:
    """A model for choice, with the vectors of the encoder of that name where they help, and what
    was recognised. Raises InputError."""
    seen = recognise(sample.of(table), wanted)
    vectors = find_encoder(encoder)
    began = time.process_time()
    # More threads than free cores wait for each other at full speed.
    with threadpool_limits(1):
        try:
            model = train_choice(seen.data, wanted.metadata, seed=sample.seed, encoder=vectors)
        except ValueError as error:
            raise InputError(f"Nothing to train on: {error}.") from error
        acceptance = train_acceptance(seen.data, sample.seed)
    told = {"acceptance": acceptance and acceptance.info} if seen.data.responses else {}
    info = {
        **model.info,
        **told,
        "portrait": portrait(seen.data.prompts, seen.data.metadata, wanted.metadata),
        "quality": dict(zip(model.candidates, model.base.tolist(), strict=True)),
        "cpu_s": round(time.process_time() - began, 2),
        "data": digest(seen.data),
    }
    return replace(model, info=info, acceptance=acceptance), seen


def digest(data: Labelled) -> str:
    """Which data a model was trained on: a hash of prompts and scores."""
    held = hashlib.sha256()
    for prompt in data.prompts:
        held.update(prompt.encode("utf-8", "surrogatepass") + b"\0")
    held.update(data.quality.tobytes())
    return held.hexdigest()[:16]


def for_model(table: Table, model: ChoiceModel, wanted: Wanted) -> Labelled:
    """The table's prompts with the columns of the model. Raises InputError where some lack."""
    asked = Wanted(
        text=wanted.text,
        candidates=model.candidates,
        metadata=model.metadata,
        prices=wanted.prices,
    )
    return recognise(table, asked).data


def names(values: str) -> tuple[str, ...]:
    """`a, b` as a tuple of names."""
    return tuple(name.strip() for name in values.split(",") if name.strip())
