"""Requests that went out with an earlier wave and wait again: the money had no room for them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.settings import configured_name
from tasks.waves.rows import Floats, Ints, Requests, Seen


@dataclass(frozen=True, slots=True)
class Returned:
    """Over all rows that wait: which have gone out before, bool[n], and what was expected of each
    where it went, 0 elsewhere: `quality` float64[n], `usd` float64[n]."""

    rows: NDArray[np.bool_]
    quality: Floats
    usd: Floats

    def told(self, rows: Ints) -> Mapping[str, float]:
        """The sums over some rows, as a wave keeps them."""
        return {
            "requests": int(self.rows[rows].sum()),
            "quality": float(self.quality[rows].sum()),
            "usd": float(self.usd[rows].sum()),
        }


def returned(
    seen: Seen, names: list[str], requests: Requests, quality: Floats, usd: Floats
) -> Returned:
    """`quality` and `usd` float64[n, m] are expected of all rows at all `names`. A chunk that the
    route step has planned excludes nobody; one that came back excludes where it has been."""
    back = np.array([one.excluded != 0 for one in seen.waiting])[requests.chunk]
    leads = [configured_name(seen.plans[one.plan_id].candidates[0]) for one in seen.waiting]
    column = np.array([names.index(name) if name in names else -1 for name in leads])
    at = column[requests.chunk]
    there = np.flatnonzero(back & (at >= 0))
    expected = np.zeros((2, len(back)))
    for place, table in enumerate((quality, usd)):
        expected[place, there] = np.nan_to_num(table[there, at[there]])
    return Returned(np.asarray(back, np.bool_), expected[0], expected[1])
