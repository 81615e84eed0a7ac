"""After a lost acknowledgement: what the commit did, read back from the chunks."""

from core.work import Batch
from db.connect import Connection
from db.record import Report, apply_cursor

CHUNKS = b"""
select c.id, c.sent, c.status, j.stop is not null
from unnest(%(ids)s::bigint[], %(fences)s::int[]) as held (id, fence)
join chunks c on c.id = held.id and c.fence = held.fence
join jobs j on j.id = c.job_id
"""


async def reread(conn: Connection, batch: Batch) -> Report:
    """Brings memory in step with a commit whose acknowledgement was lost, and reports it.

    Jobs that it may have drained are reported as such: `finish` looks for itself.
    """
    chunks = batch.chunks()
    params = {"ids": list(chunks), "fences": [chunk.fence for chunk in chunks.values()]}
    rows = {row[0]: row[1:] for row in await (await conn.execute(CHUNKS, params)).fetchall()}
    report = Report(stale=set(chunks) - set(rows), moved=True)
    granted = {id_: sent - chunks[id_].sent for id_, (sent, _, _) in rows.items()}
    for back in batch.back:
        if back.chunk.id in rows:
            back.chunk.ended = True
            granted[back.chunk.id] = -back.unsent
    for window in batch.windows:
        window.stopped = window.chunk.id not in rows or rows[window.chunk.id][2]
        window.granted = 0 if window.stopped else max(0, granted[window.chunk.id])
        window.short = not window.stopped and window.granted < window.size
    settled = [s.entry.chunk.id for s in batch.settled]
    for id_ in rows:
        apply_cursor(chunks[id_], granted[id_], settled.count(id_))
    report.drained = sorted({chunk.job_id for chunk in chunks.values()})
    return report
