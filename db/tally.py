"""What a commit adds to the job's counters, and which new chunks its moves make."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from core.status import AttemptStatus, ResultStatus
from core.work import Move, Settled

COUNTS = (
    "attempts errors throttled unknown retries fallbacks completed failed unpriced "
    "input_tokens output_tokens cost_nusd latency_ms"
).split()

THROTTLED = "throttled"


def _counts(settled: Settled) -> dict[str, int]:
    move, result, usage = settled.move, settled.result, settled.usage
    chunk = settled.entry.chunk
    ok = settled.status == AttemptStatus.OK
    return {
        "attempts": 1,
        "errors": int(not ok),
        "throttled": int(settled.error_class == THROTTLED),
        "unknown": int(settled.status == AttemptStatus.UNKNOWN),
        "retries": int(move is not None and move.candidate == chunk.candidate),
        "fallbacks": int(move is not None and move.candidate != chunk.candidate),
        "completed": int(result is not None and result.status == ResultStatus.COMPLETED),
        "failed": int(result is not None and result.status == ResultStatus.FAILED),
        "unpriced": int(settled.cost_nusd is None),
        "input_tokens": usage.input_tokens if usage else 0,
        "output_tokens": usage.output_tokens if usage else 0,
        "cost_nusd": settled.cost_nusd or 0,
        "latency_ms": settled.latency_ms if ok else 0,
    }


def _late_counts(settled: Settled, before: int | None) -> dict[str, int]:
    usage = settled.usage
    return {
        "unpriced": int(settled.cost_nusd is None) - int(before is None),
        "input_tokens": usage.input_tokens if usage else 0,
        "output_tokens": usage.output_tokens if usage else 0,
        "cost_nusd": (settled.cost_nusd or 0) - (before or 0),
    }


def count_rows(
    live: list[Settled], writer: int, *, late: Sequence[tuple[Settled, int | None]] = ()
) -> list[dict[str, Any]]:
    """One row of additions per (job, deployment), in that order. The calls in `late` were
    counted when they were written off, at the cost that stands beside them."""
    sums: dict[tuple[int, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    added = [(settled, _counts(settled)) for settled in live]
    added += [(settled, _late_counts(settled, before)) for settled, before in late]
    for settled, counts in added:
        into = sums[settled.entry.chunk.job_id, settled.entry.chunk.deployment]
        for name, value in counts.items():
            into[name] += value
    return [
        {"job_id": job_id, "deployment": deployment, "writer": writer, **counts}
        for (job_id, deployment), counts in sorted(sums.items())
    ]


def move_rows(live: list[Settled], stopped: set[int]) -> list[dict[str, Any]]:
    """The chunks that carry on what has to be called again; none for stopped jobs, whose
    unfinished requests have the job's outcome."""
    groups: dict[tuple[int, int, int, str, float], list[tuple[Settled, Move]]] = defaultdict(list)
    for settled in live:
        move, chunk = settled.move, settled.entry.chunk
        if move is not None and chunk.id not in stopped:
            # Half-second steps keep together what is due at about the same time.
            due = -(-move.delay // 0.5) * 0.5
            groups[chunk.job_id, chunk.plan_id, move.candidate, move.reason, due].append(
                (settled, move)
            )
    return [_move_row(group, due) for (*_, due), group in groups.items()]


def _move_row(group: list[tuple[Settled, Move]], due: float) -> dict[str, Any]:
    (first, move), *_ = group
    chunk = first.entry.chunk
    return {
        "job_id": chunk.job_id,
        "part": chunk.part,
        "round": chunk.round,
        "plan_id": chunk.plan_id,
        "candidate": move.candidate,
        "deployment": move.deployment,
        "size": len(group),
        "seqs": [s.entry.seq for s, _ in group],
        "tries": [to.tries for _, to in group],
        "calls": [s.entry.n for s, _ in group],
        "tokens": [s.entry.tokens for s, _ in group],
        "bounds": [to.bound for _, to in group],
        "delay": due,
        "reason": move.reason,
    }
