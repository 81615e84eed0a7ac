"""A table of judged prompts, cut in two by a seed: what trains a router, and what is its job."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from batchyard.judged.choosing import Sample, names, train_on
from batchyard.judged.prices import read_prices
from batchyard.judged.recognise import Wanted, recognise
from batchyard.judged.tables import read_table, rows_of, take_rows
from routing.labelled import Labelled
from routing.models.choice import ChoiceModel
from routing.models.encoder import WORDS
from routing.training.choice import train_choice
from tasks.encoders.find import find_encoder


@dataclass(frozen=True, slots=True)
class Halves:
    """A `model` that learned of the `trained` half, and the rest, `data`, without rows that lack a
    score. `trained_rows` and `rows` are where they stand in the table."""

    model: ChoiceModel
    trained: Labelled
    trained_rows: Sequence[int]
    data: Labelled
    rows: Sequence[int]


def add_data_arguments(
    parser: argparse.ArgumentParser, *, candidates: str = "", needs_metadata: bool = False
) -> None:
    """The options that say what is cut, and how."""
    parser.add_argument("--data", type=Path, required=True, help="a table of judged prompts")
    parser.add_argument(
        "--candidates", default=candidates, help="columns (default: %(default)s)"
        if candidates else "columns (default: all that are scores)",
    )  # fmt: skip
    parser.add_argument(
        "--metadata", default="", required=needs_metadata, help="columns that the router reads"
    )
    parser.add_argument("--prices", type=Path, help="where the data have no costs")
    parser.add_argument("--seed", type=int, default=0)


def halves(
    arguments: argparse.Namespace, *, most: int | None = None, answers: bool = False
) -> Halves:
    """Cuts the table in two halves by the seed, the second to `most` rows; the model learns to
    judge `answers`, too, where that is asked for. Raises InputError."""
    wanted = Wanted(
        candidates=names(arguments.candidates),
        metadata=names(arguments.metadata),
        prices=None if arguments.prices is None else read_prices(arguments.prices),
    )
    table = read_table(arguments.data)
    order = np.random.default_rng(arguments.seed).permutation(rows_of(table)).tolist()
    half = len(order) // 2
    learned, rest = (
        sorted(order[:half]),
        sorted(order[half : None if most is None else half + most]),
    )
    part = take_rows(table, learned)
    trained = recognise(part, wanted).data
    model = (
        train_on(part, wanted, Sample())[0]
        if answers
        else train_choice(trained, wanted.metadata, encoder=find_encoder(WORDS))
    )
    data = recognise(take_rows(table, rest), wanted).data
    whole = np.flatnonzero(~np.isnan(data.quality).any(axis=1)).tolist()
    return Halves(model, trained, learned, data.take(whole), [rest[row] for row in whole])
