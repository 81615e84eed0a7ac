"""What a model's cascade gets on recorded answers, each step paid."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from routing.curve import Measured, Numbers, bootstrap
from routing.labelled import Labelled
from routing.measuring.choice import gap_figures
from routing.models.acceptance import Acceptance
from routing.models.choice import ChoiceModel

SHARES: Final = tuple(part / 20 for part in range(21))


@dataclass(frozen=True, slots=True)
class Played:
    """A cascade on prompts with the answers of those it asks. By row: `gain` by which it goes on,
    quality and cost of the answer `kept` where it does not, and what going on changes."""

    gain: Numbers
    kept: Numbers
    paid: Numbers
    better: Numbers
    dearer: Numbers

    @classmethod
    def of(cls, scorer: Acceptance, data: Labelled) -> "Played":
        """All asked candidates of the scorer have answered; all scores and costs are known."""
        columns = [data.candidates.index(name) for name in scorer.asked]
        strong = data.candidates.index(scorer.strong)
        texts = (data.responses[name] for name in scorer.asked)
        given = [dict(zip(scorer.asked, row, strict=True)) for row in zip(*texts, strict=True)]
        judged = scorer.judge(data.prompts, given)
        first = np.array(columns)[judged.likely.argmax(axis=1)]
        kept = data.quality[np.arange(len(data)), first].astype(np.float64)
        return cls(
            judged.gain.astype(np.float64),
            kept,
            data.cost[:, columns].sum(axis=1),
            data.quality[:, strong] - kept,
            data.cost[:, strong],
        )

    def at(self, on: Numbers, counts: Numbers) -> tuple[float, float]:
        """Mean cost and quality where these rows (0 or 1) go on; rows count as told."""
        share = counts / counts.sum()
        paid, got = self.paid + on * self.dearer, self.kept + on * self.better
        return float(paid @ share), float(got @ share)

    def most(self, share: float) -> Numbers:
        """float64[n]: 1 for the rows of most gain, so many of them."""
        on = np.zeros(len(self.gain))
        on[np.argsort(-self.gain, kind="stable")[: round(share * len(on))]] = 1.0
        return on


def cascade_figures(
    model: ChoiceModel, data: Labelled, seed: int = 0
) -> tuple[dict[str, Any], dict[str, Measured]]:
    """`cascade`: whom it asks, the strong one last. Of two candidates: APGR and CPT where the weak
    one answers first and what gains most goes on; only calls to the strong one are counted. With
    costs: `cascade_quality` and `cascade_usd_per_1k` as the model was trained to go on, and
    `cascade_curve`, pairs of US dollars per 1,000 prompts and mean quality. Empty without a
    scorer, or answers."""
    scorer = model.acceptance
    if scorer is None or not set(scorer.asked) <= set(data.responses):
        return {}, {}
    known = ~np.isnan(data.quality).any(axis=1) & ~np.isnan(data.cost).any(axis=1)
    for name in scorer.asked:
        known &= np.array([bool(text) for text in data.responses[name]])
    if not known.any():
        return {}, {}
    some = data.take(np.flatnonzero(known))
    played = Played.of(scorer, some)
    values: dict[str, Any] = {"cascade": [*scorer.asked, scorer.strong]}
    measured: dict[str, Measured] = {}
    if len(model.candidates) == 2:
        gap = gap_figures(played.gain, played.kept, played.kept + played.better, seed)
        measured |= {f"cascade_{key}": one for key, one in gap.items()}
    if some.costs != "calls":
        on = (played.gain > scorer.least).astype(np.float64)
        ends = bootstrap(len(some), lambda counts: _told(played, on, counts), seed)
        measured |= dict(zip(("cascade_usd_per_1k", "cascade_quality"), ends, strict=True))
        points = [_told(played, played.most(share), np.ones(len(some))) for share in SHARES]
        values["cascade_curve"] = [[round(usd, 4), round(got, 4)] for usd, got in points]
    return values, measured


def _told(played: Played, on: Numbers, counts: Numbers) -> tuple[float, float]:
    usd, got = played.at(on, counts)
    return usd * 1000, got
