"""From which strangeness on a prompt is out of scope, and how well that tells strangers apart."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from routing.models.state import Array, Floats

LOST: Final = 0.03  # of prompts with an intent, where nobody has given strangers
MOST_LOST: Final = 0.2  # of them, whatever strangers it finds


@dataclass(frozen=True, slots=True)
class Seen:
    """Of n prompts with an intent that the classifiers were not trained on: whether the likeliest
    is the right one, bool[n], and the strangeness float32[n]; `outside` float32[k] is that of
    those without one."""

    right: Array
    strangeness: Floats
    outside: Floats


def threshold(seen: Seen) -> float:
    """Where the share of prompts that are kept and rightly named and the share of strangers that
    are found have the highest sum, as far as it loses no more than MOST_LOST of the prompts with
    an intent.

    Where nobody has given strangers, it loses the share LOST of them.
    """
    if not seen.outside.size:
        return float(np.quantile(seen.strangeness, 1 - LOST))
    right = seen.right / seen.right.size
    strangeness = np.concatenate([seen.strangeness, seen.outside])
    gain = np.concatenate([right, np.full(seen.outside.size, -1 / seen.outside.size)])
    order = np.argsort(strangeness, kind="stable")
    kept = np.cumsum(order < right.size) / right.size
    best = int(np.argmax(np.where(kept >= 1 - MOST_LOST, np.cumsum(gain[order]), -np.inf)))
    following = order[min(best + 1, len(order) - 1)]
    return float((strangeness[order[best]] + strangeness[following]) / 2)


def figures(seen: Seen, beyond: float) -> dict[str, float]:
    """How well it does on these prompts with that threshold."""
    kept = seen.strangeness <= beyond
    found = {
        "accuracy": float(seen.right.mean()),
        "kept_and_right": float((kept & seen.right).mean()),
        "lost": float(1 - kept.mean()),
    }
    if seen.outside.size:
        found["out_of_scope_found"] = float((seen.outside > beyond).mean())
    return found
