"""Mean scores for scripts and for people."""

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from batchyard.cli.show import count
from db.scores import Scores
from evaluation.summary import Mean, mean_of


def means(found: Scores) -> Iterator[tuple[str, str | None, Mean]]:
    """Of each scorer first all deployments together, then each."""
    for name in dict.fromkeys(one.scorer for one in found.sums):
        own = [one for one in found.sums if one.scorer == name]
        totals = (sum(column) for column in zip(*(one.figures for one in own), strict=True))
        yield name, None, mean_of(*totals)
        for one in own:
            yield name, one.deployment, mean_of(*one.figures)


def means_json(found: Scores) -> list[dict[str, Any]]:
    """With intervals of 95 %; `deployment` is None for all together."""
    return [
        {
            "scorer": name,
            "deployment": deployment,
            "count": mean.count,
            "mean": round(mean.mean, 6),
            "low": round(mean.low, 6),
            "high": round(mean.high, 6),
        }
        for name, deployment, mean in means(found)
    ]


def means_told(found: Scores) -> Iterator[Text]:
    """A line a scorer: `exact: 0.843 (0.812 to 0.869) over 1,000 answers`."""
    for name, deployment, mean in means(found):
        if deployment is None:
            yield Text.assemble(
                (f"{name}: ", "cyan"), f"{mean.told} over {count(mean.count, 'answer')}"
            )
