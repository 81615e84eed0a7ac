"""The packed rows of a job as arrays: what waits, and what was predicted for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.deployment import Deployment
from core.money import Price, PriceTier
from core.plan import Plan
from core.router import RouterSettings
from core.settings import configured_name
from core.size import UNBOUNDED
from core.status import Condition
from db.brakes import Braked
from db.vitals import Vital
from db.waves import Answered, ForeseenRow, Others, Out, PlanJob, Waiting
from providers.tokens import has_exact_tokens
from routing.batch.packing import spread, unpack, unpack_usd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_HEAD: Final = 20


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a wave is decided on. `price` is in quality a dollar; `others` is what other jobs
    have at each deployment, nothing where the job has no deadline."""

    job: PlanJob
    waiting: Sequence[Waiting]
    plans: Mapping[int, Plan]
    out: Sequence[Out]
    foreseen: Sequence[ForeseenRow]
    answered: Answered
    deployments: Mapping[str, Deployment]
    standing: Mapping[str, Condition]
    vitals: Mapping[str, Vital]
    brakes: Sequence[Braked]
    others: Mapping[str, Others]
    router: RouterSettings | None
    price: float

    @property
    def limited(self) -> bool:
        """Whether a budget limits the job."""
        return self.job.room_nusd is not None


@dataclass(frozen=True, slots=True)
class Decided:
    """`groups` are the requests that go out together, by the chunk they wait in and the name of
    their candidate ('' where nothing was predicted), as places in the chunk; `order` the names
    behind the first; `touched` the chunks they come from, of which the `empty` are done and the
    `kept` go on with the requests at these places (from 1); `body` is what is kept of the wave."""

    groups: Mapping[tuple[int, str], Sequence[int]]
    order: Sequence[str]
    touched: Sequence[int]
    kept: Mapping[int, Sequence[int]]
    empty: Sequence[int]
    body: Mapping[str, Any]


class Predictions:
    """What was predicted, by seq: quality and cost in dollars over all `names`."""

    def __init__(self, rows: Sequence[ForeseenRow]) -> None:
        self.names = list(dict.fromkeys(name for row in rows for name in row.candidates))
        found = np.concatenate([np.empty(0, np.int64), *(ints(row.seqs) for row in rows)])
        # As narrow as they were kept, and filled row by row: a million requests are many.
        shape = len(found), len(self.names)
        self._quality, self._cost = np.empty(shape, np.float32), np.empty(shape, np.float32)
        end = 0
        for row in rows:
            width = len(row.candidates)
            quality = spread(unpack(row.quality, width), row.candidates, self.names)
            begin, end = end, end + len(quality)
            self._quality[begin:end] = quality
            cost = unpack_usd(row.cost, width)
            self._cost[begin:end] = spread(cost, row.candidates, self.names)
        self._order = np.argsort(found, kind="stable")
        self._seqs = found[self._order]

    def of(self, seqs: Ints) -> tuple[Floats, Floats]:
        """[k, m] both; NaN where nothing was predicted. The latest round counts."""
        at = np.searchsorted(self._seqs, seqs, side="right") - 1
        known = (at >= 0) & (len(self._seqs) > 0)
        known[known] = self._seqs[at[known]] == seqs[known]
        rows = self._order[at[known]]
        quality = np.full((len(seqs), len(self.names)), np.nan)
        cost = quality.copy()
        quality[known], cost[known] = self._quality[rows], self._cost[rows]
        # A price that nobody knows counts as the highest of the request.
        told = np.fmax.reduce(cost, axis=1, initial=0.0)
        np.copyto(cost, told[:, None], where=np.isnan(cost))
        return quality, cost

    def costs_at(self, seqs: Ints, deployment: str) -> Floats:
        """What the requests cost there; 0 where nobody knows."""
        name = configured_name(deployment)
        if name not in self.names:
            return np.zeros(len(seqs))
        quality, cost = self.of(seqs)
        column = self.names.index(name)
        return np.where(np.isnan(quality[:, column]), 0.0, cost[:, column])


class Requests:
    """Everything that waits, request by request; `chunk` and `place` say where it stands."""

    def __init__(self, waiting: Sequence[Waiting]) -> None:
        parts = [ints(one.seqs) for one in waiting]
        sizes = [len(part) for part in parts]
        self.seqs = np.concatenate(parts)
        self.chunk = np.repeat(np.arange(len(waiting)), sizes)
        self.place = np.concatenate([np.arange(size) for size in sizes])
        self.tokens = np.concatenate([ints(one.tokens) for one in waiting])
        self.text_bytes = np.concatenate([ints(one.text_bytes) for one in waiting])
        self.overheads = np.concatenate([ints(one.overheads) for one in waiting])
        self.outputs = np.concatenate([ints(one.outputs) for one in waiting])

    def bounds(self, deployment: Deployment) -> Floats:
        """What each costs there at most, in dollars: `tasks/bounds.py` for many at once, in whole
        nano-dollars as there, so that what fits here is granted there."""
        price = deployment.price
        if price is None:
            return np.zeros(len(self.seqs))
        text = self.tokens if has_exact_tokens(deployment) else self.text_bytes
        text = np.where(self.text_bytes == UNBOUNDED, self.tokens, text + self.overheads)
        rates: list[Price | PriceTier] = [price, *price.tiers]
        into = max(float(one.input_per_mtok) for one in rates)
        out = max(float(one.output_per_mtok) for one in rates)
        nusd = (text * into + self.outputs * out) * 1e3 + float(price.per_request) * 1e9
        # Binary fractions may lie a little above a whole number that they stand for.
        return np.ceil(nusd - 1e-6) / 1e9


def ints(body: bytes) -> Ints:
    """int64[n] of Postgres' binary form of an int4 array: a head, then length and value each."""
    return (
        np.frombuffer(body, ">i4", offset=_HEAD)[1::2].astype(np.int64)
        if body[_HEAD:]
        else (np.empty(0, np.int64))
    )
