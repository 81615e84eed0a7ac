"""Learning of a pilot: its scored answers become a model of choice.

Imports numpy and scikit-learn; `tasks/pilot.py` loads this module when a pilot is over.
"""

from collections.abc import Sequence

import numpy as np

from db.pilot import Answer
from routing.choice_model import ChoiceModel
from routing.choice_training import train_choice
from routing.labelled import Labelled
from routing.model_file import dump, load
from tasks.pilot import Learned
from tasks.sample import telling
from tasks.tags import prompt_and_tags


def learn(given: Sequence[Answer], names: Sequence[str], gold: str, known: bytes | None) -> Learned:
    """A model of the answers; `known` is the file of the one in use, if there is one."""
    data = _labelled(given, names)
    columns = telling(data.metadata, gold)
    model = train_choice(data, columns)
    quality = dict(zip(names, np.nanmean(data.quality, axis=0).tolist(), strict=True))
    return Learned(
        body=dump(model),
        info={**model.info, "candidates": list(names), "quality": quality},
        ranked=sorted(names, key=lambda name: -quality[name]),
        better=known is None or _is_better(data, columns, load(known)),
        rows=len(data),
    )


def _labelled(given: Sequence[Answer], names: Sequence[str]) -> Labelled:
    places = {seq: row for row, seq in enumerate(sorted({one.seq for one in given}))}
    quality = np.full((len(places), len(names)), np.nan, np.float32)
    cost = np.full((len(places), len(names)), np.nan)
    prompts, metadata = [""] * len(places), [dict[str, str]()] * len(places)
    for one in given:
        row, column = places[one.seq], names.index(one.candidate)
        prompts[row], metadata[row] = prompt_and_tags(one.body.encode(), one.metadata)
        if one.score is not None:
            quality[row, column] = one.score
        if one.completed and one.cost_nusd is not None:
            cost[row, column] = one.cost_nusd / 1e9
    judged = np.flatnonzero(~np.isnan(quality).all(axis=1))
    whole = Labelled(prompts, metadata, tuple(names), quality, cost, "measured")
    return whole.take(judged)


def _is_better(data: Labelled, columns: Sequence[str], known: object) -> bool:
    """Whether a model of one half of the prompts foresees the other half's scores better than the
    one in use does: by the mean squared error. One that does not know all candidates is worse."""
    if not isinstance(known, ChoiceModel) or not set(data.candidates) <= set(known.candidates):
        return True
    half = data.take(range(0, len(data), 2))
    other = data.take(range(1, len(data), 2))
    try:
        made = train_choice(half, columns)
    except ValueError:
        return False
    at = [known.candidates.index(name) for name in data.candidates]
    errors = [
        np.nanmean(
            (model.predict(other.prompts, other.metadata).quality[:, use] - other.quality) ** 2
        )
        for model, use in ((made, slice(None)), (known, at))
    ]
    return bool(errors[0] < errors[1])
