"""What a cascade by a model's acceptance scorer gets on recorded answers, each step paid."""

from typing import Any, Final

import numpy as np

from routing.curve import Measured, Numbers
from routing.labelled import Labelled
from routing.measuring.choice import gap_figures
from routing.models.acceptance import agreement
from routing.models.choice import ChoiceModel, Prediction

CHEAP: Final = 0.2  # of the best candidate's cost: who may be asked before it
SHARES: Final = tuple(part / 20 for part in range(21))


def cascade_figures(
    model: ChoiceModel, told: Prediction, data: Labelled, seed: int = 0
) -> tuple[dict[str, Any], dict[str, Measured]]:
    """Of two candidates: APGR and CPT where the weak one answers first and its least credible
    answers go on; only calls to the strong one are counted. Of more: `cascade_curve`, pairs of
    US dollars per 1,000 prompts and mean quality, where the two best cheap ones are asked and
    the best one answers what neither answers credibly. Empty without a scorer or answers."""
    scorer, best = model.acceptance, int(np.nanargmax(model.base))
    usual = np.nanmean(told.cost, axis=0)
    cheap = [
        place
        for place in np.argsort(-model.base, kind="stable").tolist()
        if place != best
        and model.candidates[place] in data.responses
        and (usual[place] <= CHEAP * usual[best] or len(model.candidates) == 2)
    ][:2]
    whole = np.flatnonzero(~np.isnan(data.quality).any(axis=1))
    if scorer is None or not cheap or not whole.size:
        return {}, {}
    some = data.take(whole)
    texts = [some.responses[model.candidates[place]] for place in cheap]
    credible = np.empty((len(some), len(cheap)))
    for place, mine in enumerate(texts):
        others = [[text[row] for text in texts if text is not mine] for row in range(len(some))]
        agree = [agreement(answer, other) for answer, other in zip(mine, others, strict=True)]
        credible[:, place] = scorer.accept_all(some.prompts, mine, agree)
    quality = some.quality.astype(np.float64)
    steps = [*(model.candidates[place] for place in cheap), model.candidates[best]]
    values: dict[str, Any] = {"cascade": steps}
    if len(model.candidates) == 2:
        measured = gap_figures(-credible[:, 0], quality[:, cheap[0]], quality[:, best], seed)
        return values, {f"cascade_{key}": one for key, one in measured.items()}
    if not np.isnan(some.cost).any():
        values["cascade_curve"] = _curve(credible, quality, some.cost, cheap, best)
    return values, {}


def _curve(
    credible: Numbers, quality: Numbers, cost: Numbers, cheap: list[int], best: int
) -> list[list[float]]:
    """A point for each share of prompts that goes on to the best candidate."""
    rows = np.arange(len(quality))
    first = np.array(cheap)[credible.argmax(axis=1)]
    order = np.argsort(credible.max(axis=1), kind="stable")
    points = []
    for share in SHARES:
        on = np.zeros(len(rows), bool)
        on[order[: round(share * len(rows))]] = True
        got = np.where(on, quality[:, best], quality[rows, first]).mean()
        paid = (cost[:, cheap].sum(axis=1) + on * cost[:, best]).mean()
        points.append([round(float(paid) * 1000, 4), round(float(got), 4)])
    return points
