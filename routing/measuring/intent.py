"""A model of intents, measured on prompts whose intents are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from routing.curve import Measured, Numbers, bootstrap
from routing.models.intent import Intents
from routing.models.state import Array

RECALL: Final = 0.8
OPTIONS: Final = 3  # that a person is asked to choose among


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is known of each prompt: bool[n] all but `strangeness` float32[n]. `stranger` has no
    intent; `answered` has one in its set, `asked` two or three."""

    stranger: Array
    right: Array
    inside: Array
    answered: Array
    asked: Array
    outside: Array
    strangeness: Array


def measure_intents(
    told: Intents, labels: Sequence[str | None], level: float, seed: int = 0
) -> dict[str, Any]:
    """All that can be said of what was told of prompts with these labels (None: out of scope),
    with prediction sets at the error `level`. Prompts of an intent that the model does not know
    are left out. Raises ValueError where none is left."""
    place = {name: at for at, name in enumerate(told.names)}
    kept = np.array([label is None or label in place for label in labels], bool)
    truth = np.array([-1 if label is None else place.get(label, -1) for label in labels])[kept]
    if not (truth >= 0).any():
        raise ValueError("no prompt has one of the model's intents")
    sets = told.sets(level)[kept]
    sizes = sets.sum(axis=1)
    best = told.probability[kept].argmax(axis=1)
    rows = _Rows(
        stranger=truth < 0,
        right=best == truth,
        inside=sets[np.arange(truth.size), truth] & (truth >= 0),
        answered=sizes <= 1,
        asked=(sizes > 1) & (sizes <= OPTIONS),
        outside=told.outside[kept],
        strangeness=told.strangeness[kept],
    )
    values: dict[str, Any] = {
        "task": "intent",
        "rows": int(truth.size),
        "rows_left_out": int((~kept).sum()),
        "out_of_scope_rows": int(rows.stranger.sum()),
        "level": level,
    }
    measured = _measured(rows, seed)
    values |= {key: one.value for key, one in measured.items()}
    return {**values, "intervals": {key: [one.low, one.high] for key, one in measured.items()}}


def _measured(rows: _Rows, seed: int) -> dict[str, Measured]:
    known = "accuracy", "coverage", "answered_share", "answered_accuracy", "asked_share"
    names = [*known, "asked_with_truth", "accuracy_at_threshold"]
    if rows.stranger.any():
        names += ["oos_auroc", "accuracy_at_80_oos_recall", "oos_recall_at_threshold"]
    order = np.argsort(-rows.strangeness, kind="stable")

    def figures(counts: Numbers) -> tuple[float, ...]:
        inside = counts * ~rows.stranger
        found = [
            _share(rows.right, inside),
            _share(rows.inside, inside),
            _share(rows.answered, inside),
            _share(rows.right, inside * rows.answered),
            _share(rows.asked, inside),
            _share(rows.inside, inside * rows.asked),
            _share(rows.right & ~rows.outside, inside),
        ]
        if rows.stranger.any():
            strangers = counts * rows.stranger
            beyond = rows.strangeness > _at_recall(rows.strangeness, strangers, order)
            found += [
                _auroc(rows.strangeness, inside, strangers, order),
                _share(rows.right & ~beyond, inside),
                _share(rows.outside, strangers),
            ]
        return tuple(found)

    return dict(zip(names, bootstrap(rows.stranger.size, figures, seed), strict=True))


def _share(flags: Array, counts: Numbers) -> float:
    """The share of those that count for which a flag is up; 1 where none counts."""
    total = float(counts.sum())
    return float((flags * counts).sum()) / total if total else 1.0


def _at_recall(strangeness: Array, strangers: Numbers, order: Array) -> float:
    """The highest threshold beyond which the share RECALL of the strangers lies."""
    found = np.cumsum(strangers[order])
    last = int(np.searchsorted(found, RECALL * found[-1] - 1e-9))
    return float(np.nextafter(strangeness[order[min(last, order.size - 1)]], -np.inf))


def _auroc(strangeness: Array, inside: Numbers, strangers: Numbers, order: Array) -> float:
    """How likely a stranger is stranger than a prompt with an intent; a tie counts half."""
    ranked = strangeness[order]
    group = np.concatenate(([0], np.cumsum(ranked[1:] != ranked[:-1])))
    strange = np.bincount(group, weights=strangers[order])
    known = np.bincount(group, weights=inside[order])
    below = known.sum() - np.cumsum(known)
    total = strange.sum() * known.sum()
    return float((strange * (below + known / 2)).sum() / total) if total else 0.5
