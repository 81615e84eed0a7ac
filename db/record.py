"""One record transaction: attempts, results, moves, windows, counters, the ledger.

Everything that a process has to say about its leased chunks goes through `commit`, in one
transaction per micro-batch. Chunks are locked first and their fences checked one by one; a
chunk that is no longer ours does not fail its neighbours. Accounts are locked last and in
id order, so that processes never wait for each other in a circle.
"""

from dataclasses import dataclass, field

from psycopg.errors import UniqueViolation

from core.status import AttemptStatus
from core.work import Batch, LeasedChunk, Settled, Window
from db.connect import Connection, statements
from db.ledger import Books
from db.tally import count_rows, move_rows
from db.unstage import attempt_row, copy_rows, result_row, unstage_rows

SQL = statements("record")


@dataclass(slots=True)
class Report:
    """What a commit found: chunks that were no longer ours, jobs with no open chunk left,
    and whether there is new work for dispatch."""

    stale: set[int] = field(default_factory=set)
    drained: list[int] = field(default_factory=list)
    moved: bool = False


async def commit(conn: Connection, batch: Batch, *, commit_id: int, owner: int) -> Report:
    """Records the batch under `commit_id`; sets `granted`, `stopped`, `short` on its windows
    and moves the chunks' cursors. Nothing is changed in memory unless the commit succeeded.

    Raises psycopg.OperationalError when the connection is lost: then `was_committed` tells
    whether it happened all the same.
    """
    try:
        return await _commit(conn, batch, commit_id, owner, once_more=False)
    except UniqueViolation:
        # Somebody wrote one of the rows already: only what is new may be counted.
        return await _commit(conn, batch, commit_id, owner, once_more=True)


async def was_committed(conn: Connection, commit_id: int) -> bool:
    """Whether the transaction with this id took effect (every one has a ledger line)."""
    row = await (await conn.execute(SQL["was_committed"], {"commit_id": commit_id})).fetchone()
    return bool(row and row[0])


async def _commit(
    conn: Connection, batch: Batch, commit_id: int, owner: int, *, once_more: bool
) -> Report:
    chunks = batch.chunks()
    books = Books(commit_id)
    async with conn.transaction():
        held = await _lock(conn, chunks, owner)
        report = Report(stale=set(chunks) - set(held))
        live = [s for s in batch.settled if s.entry.chunk.id in held]
        live = await write(conn, live, commit_id, once_more=once_more)
        for settled in live:
            books.settle(settled)
        for settled in batch.settled:
            if settled.entry.chunk.id in report.stale:
                await _settle_late(conn, settled, books, owner)
        for back in batch.back:
            if back.chunk.id in held:
                books.take_back(back)
        grants = await _grant(conn, batch.windows, held, books)
        cursors = _cursors(batch, held, live, grants)
        async with conn.pipeline():
            report.moved = await _move_on(conn, batch, live, held, cursors, owner)
            await post(conn, books)
        report.drained = await _drained(conn, chunks, cursors)
    _apply(batch, grants, held, cursors)
    return report


async def _lock(conn: Connection, chunks: dict[int, LeasedChunk], owner: int) -> dict[int, bool]:
    """The chunks that are still ours, each with whether its job was stopped."""
    ids = sorted(chunks)
    cursor = await conn.execute(
        SQL["lock_chunks"],
        {"ids": ids, "fences": [chunks[id_].fence for id_ in ids], "owner": owner},
    )
    return dict(await cursor.fetchall())


async def write(
    conn: Connection, live: list[Settled], commit_id: int, *, once_more: bool
) -> list[Settled]:
    """Appends attempts and results; returns those that were new."""
    attempts = [attempt_row(s, commit_id) for s in live]
    finals = [(s, s.result) for s in live if s.result is not None]
    results = [result_row(s, result, commit_id) for s, result in finals]
    if not once_more:
        await copy_rows(conn, SQL["copy_attempts"], attempts)
        await copy_rows(conn, SQL["copy_results"], results)
        return live
    new = await unstage_rows(conn, "attempts", attempts, SQL)
    new_results = await unstage_rows(conn, "results", results, SQL)
    for settled, _ in finals:
        key = (settled.entry.chunk.job_id, settled.entry.seq, settled.entry.n)
        if key not in new_results:
            settled.result = None
    return [s for s in live if (s.entry.chunk.job_id, s.entry.seq, s.entry.n) in new]


async def _settle_late(conn: Connection, settled: Settled, books: Books, owner: int) -> None:
    """The chunk was taken over and this call written off as unknown: book its true cost."""
    if settled.status == AttemptStatus.UNKNOWN:
        return
    entry, usage = settled.entry, settled.usage
    cursor = await conn.execute(
        SQL["settle_late"],
        {
            "part": entry.chunk.part,
            "job_id": entry.chunk.job_id,
            "seq": entry.seq,
            "n": entry.n,
            "cost": settled.cost_nusd,
            "http_status": settled.http_status,
            "input_tokens": usage.input_tokens if usage else None,
            "output_tokens": usage.output_tokens if usage else None,
            "latency": settled.latency_ms,
        },
    )
    row = await cursor.fetchone()
    if row is not None:
        delta = (settled.cost_nusd or 0) - row[0]
        books.adjust(entry.chunk, delta)
        await conn.execute(SQL["count"], count_rows([], owner, late=(settled, delta))[0])


async def _grant(
    conn: Connection, windows: list[Window], held: dict[int, bool], books: Books
) -> dict[int, int]:
    """How many entries each window (by its index) may send; reserves exactly those."""
    open_windows = [(i, w) for i, w in enumerate(windows) if held.get(w.chunk.id) is False]
    limited = {account for _, w in open_windows if w.chunk.limited for account in w.chunk.accounts}
    if limited:
        cursor = await conn.execute(SQL["lock_accounts"], {"ids": sorted(limited)})
        books.know(await cursor.fetchall())
    grants: dict[int, int] = {}
    blocked: set[int] = set()
    for index, window in open_windows:
        grants[index] = books.reserve(window)
        if grants[index] == 0 and books.hopeless(window):
            blocked.add(window.chunk.job_id)
    if blocked:
        await conn.execute(SQL["exhaust"], {"job_ids": sorted(blocked)})
    return grants


@dataclass(slots=True)
class Cursor:
    """Where a chunk stands after this commit."""

    sent: int
    open: int
    ended: bool

    def closes(self, chunk: LeasedChunk) -> bool:
        """Nothing in flight and nothing left to send."""
        return self.open == 0 and (self.ended or self.sent == chunk.size)


def _cursors(
    batch: Batch, held: dict[int, bool], live: list[Settled], grants: dict[int, int]
) -> dict[int, Cursor]:
    cursors = {
        id_: Cursor(chunk.sent, chunk.open, chunk.ended)
        for id_, chunk in batch.chunks().items()
        if id_ in held
    }
    for settled in live:
        cursors[settled.entry.chunk.id].open -= 1
    for index, window in enumerate(batch.windows):
        if index in grants:
            cursors[window.chunk.id].sent += grants[index]
            cursors[window.chunk.id].open += grants[index]
    for back in batch.back:
        if back.chunk.id in held:
            cursor = cursors[back.chunk.id]
            cursor.sent -= back.unsent
            cursor.open -= back.unsent
            cursor.ended = True
    return cursors


async def _move_on(
    conn: Connection,
    batch: Batch,
    live: list[Settled],
    held: dict[int, bool],
    cursors: dict[int, Cursor],
    owner: int,
) -> bool:
    """Counters, new chunks for what goes on elsewhere, and the old chunks' cursors.
    Returns whether dispatch has something new."""
    for row in count_rows(live, owner):
        await conn.execute(SQL["count"], row)
    moves = move_rows(live, {id_ for id_, stopped in held.items() if stopped})
    for row in moves:
        await conn.execute(SQL["move"], row)
    backs = {back.chunk.id: back for back in batch.back if back.chunk.id in held}
    whole = {id_ for id_ in backs if not backs[id_].drop and cursors[id_].sent == 0}
    ids = [id_ for id_ in sorted(cursors) if id_ not in whole]
    chunks = batch.chunks()
    closing = [cursors[id_].closes(chunks[id_]) for id_ in ids]
    if ids:
        await conn.execute(
            SQL["advance"],
            {"ids": ids, "sents": [cursors[id_].sent for id_ in ids], "dones": closing},
        )
    for id_, back in backs.items():
        if not back.drop:
            name = "give_back_whole" if id_ in whole else "give_back_rest"
            await conn.execute(SQL[name], {"id": id_, "delay": back.delay, "reason": back.reason})
    return bool(moves or backs)


async def post(conn: Connection, books: Books) -> None:
    """The ledger's lines, then the accounts: the last lock that is taken."""
    await conn.execute(SQL["write_ledger"], books.lines())
    await conn.execute(SQL["move_accounts"], books.totals())


async def _drained(
    conn: Connection, chunks: dict[int, LeasedChunk], cursors: dict[int, Cursor]
) -> list[int]:
    closed = {chunks[id_].job_id for id_, cursor in cursors.items() if cursor.open == 0}
    if not closed:
        return []
    cursor = await conn.execute(SQL["drained"], {"job_ids": sorted(closed)})
    return [row[0] for row in await cursor.fetchall()]


def apply_cursor(chunk: LeasedChunk, moved: int, settled: int) -> None:
    """`moved` entries were newly intended (or, below zero, taken back), `settled` ended."""
    chunk.sent += moved
    chunk.open += moved - settled


def _apply(
    batch: Batch, grants: dict[int, int], held: dict[int, bool], cursors: dict[int, Cursor]
) -> None:
    """Brings the memory in step with what was committed."""
    chunks = batch.chunks()
    for id_, cursor in cursors.items():
        chunk = chunks[id_]
        chunk.sent, chunk.open, chunk.ended = cursor.sent, cursor.open, cursor.ended
    for index, window in enumerate(batch.windows):
        window.granted = grants.get(index, 0)
        window.stopped = held.get(window.chunk.id) is not False
        window.short = not window.stopped and window.granted < window.size
