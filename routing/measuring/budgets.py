"""What a budget buys: judged prompts assigned as one, and what that truly costs and gives."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from routing.batch.allocation import allocate
from routing.curve import Numbers, bootstrap
from routing.labelled import Labelled
from routing.models.choice import Prediction


def budget_figures(
    told: Prediction, data: Labelled, budgets: Sequence[float], seed: int = 0
) -> list[dict[str, Any]]:
    """For each budget in US dollars, of prompts with all scores and costs: the true `spend`, by
    how much of the budget that is over it (`overspend`, 0 where it is not) and the true mean
    `quality`, with 95 % intervals by bootstrap over prompts, which hold for other prompts as many
    as these, assigned so. No reservation stops a spend here, as it does in a running yard.

    Raises DoesNotFitError where a budget is too small, ValueError where no prompt is left.
    """
    whole = ~(np.isnan(data.quality).any(axis=1) | np.isnan(data.cost).any(axis=1))
    if not whole.any():
        raise ValueError("no prompt has the scores and costs of all candidates")
    rows = np.arange(int(whole.sum()))
    quality, cost = data.quality[whole].astype(np.float64), data.cost[whole]
    found = []
    for budget in budgets:
        chosen = allocate(told.quality[whole], told.cost[whole], budget=budget)
        got, paid = quality[rows, chosen.choice], cost[rows, chosen.choice]

        def figures(
            counts: Numbers, got: Numbers = got, paid: Numbers = paid, budget: float = budget
        ) -> tuple[float, ...]:
            spend = float(counts @ paid)
            over = max(0.0, spend / budget - 1) if budget else 0.0
            return spend, over, float(counts @ got / counts.sum())

        names = ("spend", "overspend", "quality")
        measured = dict(zip(names, bootstrap(len(rows), figures, seed), strict=True))
        found.append(
            {
                "budget": budget,
                "requests": len(rows),
                **{name: one.value for name, one in measured.items()},
                "intervals": {name: [one.low, one.high] for name, one in measured.items()},
                "expected": {"spend": chosen.spend, "quality": chosen.quality},
            }
        )
    return found
