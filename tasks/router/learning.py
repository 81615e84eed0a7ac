"""Learning of a pilot: its scored answers become a model of choice (`tasks/router/lessons.py`).

Imports numpy and scikit-learn, and runs in a process of its own (`tasks/router/taught.py`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from core.money import Price
from core.pilot import Learned
from db.pilot import Answer
from routing.labelled import Labelled
from routing.models.choice import ChoiceModel
from routing.models.file import dump
from tasks.encoders.find import load_ready
from tasks.router.lessons import teach, written
from tasks.router.tags import prompt_and_tags


def learn(
    given: Sequence[Answer],
    prices: Mapping[str, Price | None],
    gold: str,
    known: bytes | None,
) -> Learned:
    """A model of the answers; `prices` are by candidate, in the order of the route, `known` is the
    file of the model in use, if there is one. Raises InputError where there is too little."""
    names = list(prices)
    data = _labelled(given, names, gold)
    in_use = None if known is None else load_ready(known)
    taught = teach(data, in_use if isinstance(in_use, ChoiceModel) else None, prices)
    quality = taught.model.info["quality"]
    return Learned(
        body=dump(taught.model),
        info=dict(taught.model.info),
        ranked=sorted(names, key=lambda name: -quality[name]),
        better=taught.better,
        rows=len(data),
    )


def _labelled(given: Sequence[Answer], names: Sequence[str], gold: str) -> Labelled:
    """A row a request that has a score; what its metadata say of the right answer is left out."""
    places = {seq: row for row, seq in enumerate(sorted({one.seq for one in given}))}
    quality = np.full((len(places), len(names)), np.nan, np.float32)
    cost = np.full((len(places), len(names)), np.nan)
    prompts, metadata = [""] * len(places), [dict[str, str]()] * len(places)
    said = {name: [""] * len(places) for name in names}
    for one in given:
        row, column = places[one.seq], names.index(one.candidate)
        prompts[row], tags = prompt_and_tags(one.body.encode(), one.metadata)
        tags.pop(gold, None)
        metadata[row] = tags
        said[one.candidate][row] = written(one.reply)
        if one.score is not None:
            quality[row, column] = one.score
        if one.completed and one.cost_nusd is not None:
            cost[row, column] = one.cost_nusd / 1e9
    judged = np.flatnonzero(~np.isnan(quality).all(axis=1))
    whole = Labelled(prompts, metadata, tuple(names), quality, cost, "measured", said)
    return whole.take(judged)
