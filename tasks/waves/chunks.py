"""The chunks that a wave sends out, each with its plan: the chosen candidate before the others."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from core.plan import Plan, indexes
from core.settings import configured_name
from core.size import Size
from db.waves import Released, Waiting
from tasks.bounds import bounds_of
from tasks.waves.rows import Decided, Seen, ints

CHUNK: Final = 200


def released(
    seen: Seen, decided: Decided, counts: Mapping[int, tuple[list[int], list[int]]]
) -> list[Released]:
    """The chunks that go out, in the order of their plans: two steps that make the same new
    plans wait for each other."""
    by_kind: dict[Any, list[tuple[int, int]]] = defaultdict(list)
    for (number, name), places in decided.groups.items():
        one = seen.waiting[number]
        kind = (one.plan_id, one.excluded, one.among, one.round, one.came_from, name)
        by_kind[kind] += [(number, place) for place in places]
    arrays = _Arrays(seen, counts)
    found = [
        chunk
        for (plan_id, excluded, among, round_, came_from, name), members in by_kind.items()
        for chunk in _chunks(
            seen,
            Waiting(0, round_, plan_id, excluded, among, came_from, b"", b"", b"", b"", b""),
            _lead(seen.plans[plan_id], name, decided.order, excluded),
            arrays,
            sorted(members),
        )
    ]
    return sorted(found, key=lambda one: one.plan.digest())


class _Arrays:
    """The numbers of single requests, chunk by chunk as they are asked for."""

    def __init__(self, seen: Seen, counts: Mapping[int, tuple[list[int], list[int]]]) -> None:
        self._seen = seen
        self._counts = counts
        self._lists: dict[int, tuple[list[int], ...]] = {}

    def of(self, number: int) -> tuple[list[int], ...]:
        """seqs, tries, calls, tokens, text_bytes, overheads, outputs."""
        if number not in self._lists:
            one = self._seen.waiting[number]
            tries, calls = self._counts[one.id]
            told = (one.tokens, one.text_bytes, one.overheads, one.outputs)
            self._lists[number] = (
                ints(one.seqs).tolist(),
                tries,
                calls,
                *(ints(body).tolist() for body in told),
            )
        return self._lists[number]


def _lead(plan: Plan, name: str, order: Sequence[str], excluded: int) -> Plan:
    """The plan with the lines of a deployment first among its own, those that are left before
    those that gave up; then the others by `order`. As it is without a name."""
    if not name:
        return plan
    rank = {name: -1} | {one: place for place, one in enumerate(order) if one != name}
    own = sorted(
        range(plan.own),
        key=lambda at: (
            rank.get(configured_name(plan.candidates[at]), len(rank)),
            excluded >> at & 1,
        ),
    )
    led = tuple(plan.candidates[at] for at in own)
    return replace(plan, candidates=led + plan.candidates[plan.own :])


def _chunks(
    seen: Seen,
    base: Waiting,
    plan: Plan,
    arrays: _Arrays,
    members: Sequence[tuple[int, int]],
) -> Iterator[Released]:
    """The members in chunks, at the first candidate that they may go to."""
    before = seen.plans[base.plan_id].candidates
    excluded = sum(1 << plan.candidates.index(before[at]) for at in indexes(base.excluded))
    came_from = None if base.came_from is None else plan.candidates.index(before[base.came_from])
    for at in range(0, len(members), CHUNK):
        rows = [
            [one[place] for one in arrays.of(number)] for number, place in members[at : at + CHUNK]
        ]
        columns = [list(column) for column in zip(*rows, strict=True)]
        sizes = [Size(*row[3:]) for row in rows]
        for candidate in indexes(plan.mask(base.among) & ~excluded):
            name = plan.candidates[candidate]
            deployment = seen.deployments.get(name)
            if deployment is None:
                continue
            bounds = bounds_of(sizes, deployment, limited=seen.limited)
            if bounds is not None:
                break
        else:
            # Nothing bounds it: it may cost all there is, and has to be alone.
            candidate = plan.listed(base.among)[0]
            name, bounds = plan.candidates[candidate], [seen.job.room_nusd or 0] * len(sizes)
        seqs, tries, calls, tokens, text_bytes, overheads, outputs = columns
        yield Released(
            base.round,
            plan,
            candidate,
            came_from,
            excluded,
            base.among,
            name,
            seqs,
            tries,
            calls,
            tokens,
            text_bytes,
            overheads,
            outputs,
            bounds,
        )
