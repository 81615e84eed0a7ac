"""What a commit adds to the job's counters, and which new chunks its moves make."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from core.status import AttemptStatus, ChunkStatus, ResultStatus
from core.work import Move, Result, Settled

COUNTS = (
    "attempts errors throttled unknown retries fallbacks escalations completed failed unpriced "
    "input_tokens output_tokens cost_nusd latency_ms unbooked_nusd"
).split()

THROTTLED = "throttled"
WAYS = {"retry": "retries", "fallback": "fallbacks", "escalation": "escalations"}


def count_rows(
    live: list[Settled], writer: int, *, late: Sequence[tuple[Settled, int | None]] = ()
) -> list[dict[str, Any]]:
    """One row of additions per (job, deployment), in that order. The calls in `late` were
    counted when they were written off, at the cost that stands beside them."""
    sums: dict[tuple[int, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for settled in live:
        chunk = settled.entry.chunk
        _count(sums[chunk.job_id, chunk.deployment], settled)
        if (came := settled.entry.came) is not None:
            # Counted where the call before it ended, and only now that it was made: where a
            # request goes on is dispatch's to say, and may be nowhere.
            sums[chunk.job_id, chunk.last_called][WAYS[came]] += 1
        if settled.result is not None:
            answered = settled.result.of.deployment if settled.result.of else chunk.deployment
            _count_result(sums[chunk.job_id, answered], settled.result)
    for settled, before in late:
        chunk = settled.entry.chunk
        _count_late(sums[chunk.job_id, chunk.deployment], settled, before)
    return [
        {"job_id": job_id, "deployment": deployment, "writer": writer, **counts}
        for (job_id, deployment), counts in sorted(sums.items())
    ]


def _count(into: dict[str, int], settled: Settled) -> None:
    into["attempts"] += 1
    if settled.status == AttemptStatus.OK:
        into["latency_ms"] += settled.latency_ms
    else:
        into["errors"] += 1
        into["throttled"] += settled.error_class == THROTTLED
        into["unknown"] += settled.status == AttemptStatus.UNKNOWN
    into["unpriced"] += settled.cost_nusd is None
    into["cost_nusd"] += settled.cost_nusd or 0
    into["unbooked_nusd"] += settled.unbooked_nusd or 0
    _count_tokens(into, settled)


def _count_result(into: dict[str, int], result: Result) -> None:
    into["completed"] += result.status == ResultStatus.COMPLETED
    into["failed"] += result.status == ResultStatus.FAILED


def _count_late(into: dict[str, int], settled: Settled, before: int | None) -> None:
    into["unpriced"] += (settled.cost_nusd is None) - (before is None)
    into["cost_nusd"] += (settled.cost_nusd or 0) - (before or 0)
    into["unbooked_nusd"] += settled.unbooked_nusd or 0
    _count_tokens(into, settled)


def _count_tokens(into: dict[str, int], settled: Settled) -> None:
    if settled.usage is not None:
        into["input_tokens"] += settled.usage.input_tokens
        into["output_tokens"] += settled.usage.output_tokens


def move_rows(live: list[Settled], stopped: set[int]) -> list[dict[str, Any]]:
    """The chunks that carry on what has to be called again; none for stopped jobs, whose
    unfinished requests have the job's outcome."""
    groups: dict[tuple[object, ...], list[tuple[Settled, Move]]] = defaultdict(list)
    for settled in live:
        move, chunk = settled.move, settled.entry.chunk
        if move is not None and chunk.id not in stopped:
            # Half-second steps keep together what is due at about the same time.
            due = -(-move.delay // 0.5) * 0.5
            answered = bool(settled.kept or settled.entry.replies)
            how = (move.reason, due, move.behind, answered)
            way = (chunk.candidate, move.candidate, move.excluded, move.among, *how)
            groups[chunk.job_id, chunk.plan_id, *way].append((settled, move))
    return [_move_row(group) for group in groups.values()]


def _move_row(group: list[tuple[Settled, Move]]) -> dict[str, Any]:
    (first, move), *_ = group
    chunk = first.entry.chunk
    due = -(-move.delay // 0.5) * 0.5
    sizes = [settled.entry.chunk.size_of(settled.entry.index) for settled, _ in group]
    return {
        "job_id": chunk.job_id,
        "part": chunk.part,
        "round": chunk.round,
        "plan_id": chunk.plan_id,
        "candidate": move.candidate,
        "came_from": chunk.candidate,
        "excluded": move.excluded,
        "among": move.among,
        "deployment": move.deployment,
        "size": len(group),
        "seqs": [s.entry.seq for s, _ in group],
        "tries": [to.tries for _, to in group],
        "calls": [s.entry.n for s, _ in group],
        "tokens": [size.tokens for size in sizes],
        "text_bytes": [size.text_bytes for size in sizes],
        "overheads": [size.overhead for size in sizes],
        "outputs": [size.output for size in sizes],
        "bounds": [to.bound for _, to in group],
        "status": _status(chunk.candidate, move, due),
        "delay": due,
        "turn": max(s.entry.chunk.turn for s, _ in group) if move.behind else None,
        "reason": move.reason,
    }


def _status(candidate: int, move: Move, due: float) -> ChunkStatus:
    """A retry is bound to its deployment already; where a fallback goes is for dispatch to say."""
    if move.candidate != candidate:
        return ChunkStatus.PLANNED
    return ChunkStatus.WAITING if due > 0 else ChunkStatus.READY
