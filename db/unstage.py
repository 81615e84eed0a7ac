"""How attempts and results reach their tables: straight by COPY, or by way of a staging
table when some of the rows may be there already."""

from typing import Any

from core.work import Kept, Result, Settled
from db.connect import Connection
from db.copytext import NULL, block, number, text


def attempt_row(settled: Settled, commit_id: int) -> str:
    """The COPY line of an attempt, in the column order of `copy_attempts`."""
    entry, usage = settled.entry, settled.usage
    chunk = entry.chunk
    return "\t".join(
        (
            str(chunk.part),
            str(chunk.job_id),
            str(entry.seq),
            str(entry.n),
            str(chunk.round),
            chunk.deployment,
            settled.status,
            text(settled.error_class),
            text(settled.error),
            number(settled.http_status),
            number(usage.input_tokens if usage else None),
            number(usage.cached_tokens if usage else None),
            number(usage.output_tokens if usage else None),
            number(usage.reasoning_tokens if usage else None),
            number(settled.cost_nusd),
            str(entry.bound),
            str(settled.latency_ms),
            str(chunk.id),
            str(commit_id),
            number(settled.unbooked_nusd),
        )
    )


def result_row(settled: Settled, result: Result, commit_id: int) -> str:
    """The COPY line of a result, in the column order of `copy_results`."""
    entry = settled.entry
    chunk = entry.chunk
    of = result.of or Kept(entry.n, chunk.deployment, "")
    return "\t".join(
        (
            str(chunk.part),
            str(chunk.job_id),
            str(entry.seq),
            str(chunk.round),
            result.status,
            of.deployment,
            str(of.n),
            number(result.http_status),
            text(result.request_id),
            text(result.body),
            text(result.error),
            str(commit_id),
            text(result.step),
        )
    )


def reply_row(settled: Settled, kept: Kept) -> str:
    """The COPY line of an answer that is kept, in the column order of `copy_replies`."""
    entry = settled.entry
    chunk = entry.chunk
    return "\t".join(
        (
            str(chunk.part),
            str(chunk.job_id),
            str(entry.seq),
            str(kept.n),
            str(chunk.round),
            kept.deployment,
            text(kept.body),
            NULL if kept.score is None else repr(kept.score),
        )
    )


def late_params(settled: Settled) -> dict[str, Any]:
    """The parameters of `settle_late`."""
    entry, usage = settled.entry, settled.usage
    return {
        "part": entry.chunk.part,
        "job_id": entry.chunk.job_id,
        "seq": entry.seq,
        "n": entry.n,
        "cost": settled.cost_nusd,
        "http_status": settled.http_status,
        "input_tokens": usage.input_tokens if usage else None,
        "cached_tokens": usage.cached_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "reasoning_tokens": usage.reasoning_tokens if usage else None,
        "latency": settled.latency_ms,
        "unbooked": settled.unbooked_nusd,
    }


async def copy_rows(conn: Connection, statement: bytes, rows: list[str]) -> None:
    """COPY lines into the table that the statement names."""
    if rows:
        async with conn.cursor() as cursor, cursor.copy(statement) as copy:
            await copy.write(block(rows))


async def unstage_rows(
    conn: Connection, table: str, rows: list[str], sql: dict[str, bytes]
) -> set[tuple[Any, ...]]:
    """Inserts the rows that are not there yet; returns their (job_id, seq, n)."""
    staged = b"staged_" + table.encode()
    await conn.execute(sql["stage"].replace(b"{table}", table.encode()))
    target = sql[f"copy_{table}"].replace(b"copy " + table.encode(), b"copy " + staged, 1)
    await copy_rows(conn, target, rows)
    cursor = await conn.execute(sql[f"unstage_{table}"])
    return set(await cursor.fetchall())
