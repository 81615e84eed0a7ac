"""A learned cascade by outer folds: everything about it is trained on the other folds, whom it asks
and from which gain on included, and its answers to all folds are counted together. No yard runs."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from routing.curve import Measured, Numbers, bootstrap
from routing.labelled import Labelled
from routing.measuring.cascade import Played
from routing.measuring.choice import gap_figures
from routing.training.acceptance import train_acceptance
from routing.training.learners import folds

PRICES: Final = (1.5, 2.0, 2.4, 2.75, 3.15)


def by_folds(data: Labelled, many: int, seed: int) -> dict[str, Any]:
    """The figures with their 95 % intervals: of two candidates APGR and CPT; else the quality at
    some prices, and what it costs and gives as trained. Without a cascade on a fold: none."""
    asked, parts, rows = [], [], []
    with threadpool_limits(1):
        for fit, look in folds(data.prompts, many, seed):
            scorer = train_acceptance(data.take(fit), seed)
            if scorer is None:
                return {"seed": seed, "asked": [*asked, None]}
            asked.append([*scorer.asked, scorer.strong])
            parts.append((Played.of(scorer, data.take(look)), scorer.least))
            rows.append(look)
    told = {"seed": seed, "asked": asked}
    whole = _together([one for one, _ in parts])
    if data.costs == "calls":
        gap = gap_figures(whole.gain, whole.kept, whole.kept + whole.better, seed)
        return told | {name: _ends(one) for name, one in gap.items()}
    on = np.concatenate([one.gain > least for one, least in parts]).astype(np.float64)
    count = len(on)
    read = bootstrap(count, lambda counts: _at_prices(whole, counts), seed)
    as_trained = bootstrap(count, lambda counts: whole.at(on, counts), seed)
    return told | {
        "quality_at": {f"{usd:g}": _ends(one) for usd, one in zip(PRICES, read, strict=True)},
        "as_trained": {
            "usd_per_1k": round(as_trained[0].value * 1000, 3),
            "quality": _ends(as_trained[1]),
        },
    }


def _together(parts: Sequence[Played]) -> Played:
    fields = ("gain", "kept", "paid", "better", "dearer")
    return Played(*(np.concatenate([getattr(one, name) for one in parts]) for name in fields))


def _at_prices(whole: Played, counts: Numbers) -> Numbers:
    """The quality at each of `PRICES`, rows of most gain going on first."""
    order, share = np.argsort(-whole.gain, kind="stable"), counts / counts.sum()
    more = np.concatenate(([0.0], np.cumsum((share * whole.dearer)[order])))
    better = np.concatenate(([0.0], np.cumsum((share * whole.better)[order])))
    usd = (more + whole.paid @ share) * 1000
    return np.interp(PRICES, usd, better + whole.kept @ share)


def _ends(one: Measured) -> list[float]:
    return [round(value, 4) for value in (one.value, one.low, one.high)]


def as_text(told: dict[str, Any]) -> str:
    """A line a figure."""
    lines = [f"seed {told['seed']}"]
    lines += ["  asked " + ("nobody" if one is None else ", ".join(one)) for one in told["asked"]]
    for usd, ends in told.get("quality_at", {}).items():
        lines.append("  at ${} per 1,000: {:.4f} ({:.3f} to {:.3f})".format(usd, *ends))
    if "as_trained" in told:
        one = told["as_trained"]
        ends = one["quality"]
        lines.append(
            f"  as trained: {ends[0]:.4f} ({ends[1]:.3f} to {ends[2]:.3f}) at ${one['usd_per_1k']}"
        )
    for name in ("apgr", "cpt50", "cpt80"):
        if name in told:
            lines.append("  {}: {:.4f} ({:.3f} to {:.3f})".format(name, *told[name]))
    return "\n".join(lines)
