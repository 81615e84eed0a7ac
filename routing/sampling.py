"""A sample that has of every kind of request its share."""

import random
from collections.abc import Hashable, Sequence


def stratified(strata: Sequence[Hashable], count: int, seed: int) -> list[int]:
    """`count` indexes (all, where there are fewer), ascending, of each stratum in proportion to
    its size, to within one.

    Systematic sampling: everything is ordered by stratum, by lot within it, and every (n /
    count)-th is taken from a start by lot (Cochran, Sampling Techniques, 1977, chapter 8).
    """
    drawn = random.Random(seed)
    total = len(strata)
    if count >= total:
        return list(range(total))
    names = {stratum: place for place, stratum in enumerate(dict.fromkeys(strata))}
    order = sorted(range(total), key=lambda at: (names[strata[at]], drawn.random()))
    step = total / count
    start = drawn.random() * step
    return sorted(order[min(int(start + step * turn), total - 1)] for turn in range(count))
