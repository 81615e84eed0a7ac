"""After a lost acknowledgement: what the commit did, read back from the chunks."""

from core.work import Batch
from db.connect import Connection, statements
from db.record import Report, apply_cursor, current_chunks, ours

SQL = statements("reread")


async def reread(conn: Connection, batch: Batch) -> Report:
    """Brings memory in step with a commit whose acknowledgement was lost, and reports it.

    Jobs that it may have drained are reported as such: `finish` looks for itself.
    """
    chunks = current_chunks(batch)
    params = {"ids": list(chunks), "fences": [chunk.fence for chunk in chunks.values()]}
    rows = {row[0]: row[1:] for row in await (await conn.execute(SQL["chunks"], params)).fetchall()}
    report = Report(stale=set(chunks) - set(rows), moved=True)
    mine = ours(batch, set(rows))
    granted = {id_: sent - chunks[id_].sent for id_, (sent, _) in rows.items()}
    for back in mine.back:
        back.chunk.ended = True
        granted[back.chunk.id] = -back.unsent
    for window in batch.windows:
        window.granted, window.stopped, window.short = 0, True, False
    for window in mine.windows:
        window.stopped = rows[window.chunk.id][1]
        window.granted = max(0, granted[window.chunk.id])
        window.short = not window.stopped and window.granted < window.size
    settled = [s.entry.chunk.id for s in mine.settled]
    for id_ in rows:
        apply_cursor(chunks[id_], granted[id_], settled.count(id_))
    report.drained = sorted({chunk.job_id for chunk in chunks.values()})
    return report
