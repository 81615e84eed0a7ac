"""From predictions to the order in which each request's candidates are asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.money import Price
from core.router import RouterSettings
from routing.threshold import Floats, chosen, price_for_cost, price_for_quality

_USUAL_OUTPUT: Final = 256
"""Output tokens that are taken for likely where nobody knows better."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Requests in rows, candidates in columns.

    `quality` is float[n, m], NaN where the window is too small; `cost` float[n, m] in dollars a
    call; `base` float[m] the candidates' mean quality in training. `steps` are the columns that a
    trained cascade asks, in its order.
    """

    names: tuple[str, ...]
    quality: Floats
    cost: Floats
    base: Floats
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Orders:
    """`order` has for each request the columns in the order to ask them in, `explored` says
    whether the first was drawn by lot, `propensity` how likely the first was to be it; `price`
    is in quality a dollar, None where nothing was weighed against money."""

    order: list[tuple[int, ...]]
    explored: NDArray[np.bool_]
    propensity: Floats
    price: float | None = None


def order(choose: str, router: RouterSettings, seen: Seen, seed: int) -> Orders:
    """Puts the candidates in order by the policy `choose`, one of `core.router.ROUTED`.

    Requests drawn to explore (the same ones for
    the same seed) get one of the candidates that fit by lot. Behind the first come the others,
    the best first; in a cascade the cheap ones first. For `optimize` the first is the best: who
    gets the request is decided when the whole job is known. A trained cascade asks nobody but
    its own steps; whoever was drawn by lot goes on to those above it, if it is one of them.
    """
    n = len(seen.quality)
    ranked = np.argsort(-seen.base, kind="stable")
    weighed: float | None = None
    if choose == "threshold":
        weighed = aimed_price(router, seen)
        first = chosen(seen.quality, seen.cost, weighed)
    elif choose == "cascade" and seen.steps:
        ranked = np.array(seen.steps)
        first = np.full(n, ranked[0])
    elif choose == "cascade":
        ranked = np.argsort(np.nanmean(seen.cost, axis=0), kind="stable")
        first = np.full(n, ranked[0])
    else:
        first = np.full(n, ranked[0])
    drawn, explored = _lots(router.explore, seen.quality, seed)
    fitting = np.maximum((~np.isnan(seen.quality)).sum(axis=1), 1)
    usual = first
    first = np.where(explored, drawn, usual)
    propensity = router.explore / fitting + np.where(first == usual, 1 - router.explore, 0.0)
    behind = {one: _line(one, ranked.tolist(), seen.steps) for one in set(first.tolist())}
    return Orders(
        [behind[one] for one in first.tolist()], explored, propensity.astype(np.float32), weighed
    )


def _line(first: int, ranked: Sequence[int], steps: tuple[int, ...]) -> tuple[int, ...]:
    """The columns to ask, in order, beginning with `first`."""
    if steps:
        return steps[steps.index(first) :] if first in steps else (first,)
    return (first, *(one for one in ranked if one != first))


def aimed_price(router: RouterSettings, seen: Seen) -> float:
    """The price at which these requests reach what the settings aim at; without an aim, the
    quality of the best single candidate in training."""
    if router.usd_per_1k is not None:
        return price_for_cost(seen.quality, seen.cost, router.usd_per_1k / 1000)
    aim = float(seen.base.max()) if router.quality is None else router.quality
    return price_for_quality(seen.quality, seen.cost, aim)


def _lots(share: float, quality: Floats, seed: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A candidate for each request, drawn from those that fit, and which requests take it."""
    rng = np.random.default_rng(seed)
    explored = rng.random(len(quality)) < share
    lots = np.where(np.isnan(quality), -1.0, rng.random(quality.shape))
    return np.argmax(lots, axis=1), explored


def costs_now(
    trained: Floats,
    names: Sequence[str],
    tokens: NDArray[np.float32],
    outputs: NDArray[np.float32],
    then: Mapping[str, Sequence[float]],
    now: Mapping[str, Price | None],
) -> Floats:
    """float[n, m]: what a call costs in dollars at the prices of today.

    `trained` is what the model predicts at the prices of its training, `then` those prices by
    name as dollars per million tokens in and out: what a predicted cost says beside the input
    is how long the answer will be. Where `then` is not known an answer is taken for as long as
    usual, if the model predicts no cost either; its prediction stands where today's price is
    unknown. `tokens` are the input's, `outputs` the limits of the output, float[n].
    """
    told = trained.astype(np.float64)
    for column, name in enumerate(names):
        price = now.get(name)
        if price is None:
            continue
        into, out = float(price.input_per_mtok), float(price.output_per_mtok)
        if name in then and then[name][1] > 0:
            answer = (told[:, column] * 1e6 - tokens * then[name][0]) / then[name][1]
        elif np.isnan(told[:, column]).any():
            answer = np.full(len(told), float(_USUAL_OUTPUT))
        else:
            continue
        told[:, column] = (tokens * into + np.clip(answer, 1, outputs) * out) / 1e6
    return told.astype(np.float32)
