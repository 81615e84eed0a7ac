"""One record transaction: attempts, results, moves, windows, counters, the ledger.

Everything that a process has to say about its leased chunks goes through `commit`, in one
transaction per micro-batch. Chunks are locked first and their fences checked one by one; a
chunk that is no longer ours does not fail its neighbours. Then come the process' own counters,
and the accounts last and in id order, so that nobody ever waits for another in a circle.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from psycopg.errors import UniqueViolation

from core.status import AttemptStatus, Halt
from core.work import Batch, LeasedChunk, Settled
from db.connect import Connection, statements
from db.ledger import Books
from db.replies import take_replies
from db.tally import count_rows, move_rows
from db.unstage import attempt_row, copy_rows, late_params, reply_row, result_row, unstage_rows
from db.waves import due_jobs

SQL = statements("record")


@dataclass(slots=True)
class Report:
    """What a commit found: chunks that were no longer ours, jobs with no open chunk left,
    whether there is new work for dispatch, and jobs whose next wave should be planned."""

    stale: set[int] = field(default_factory=set)
    drained: list[int] = field(default_factory=list)
    moved: bool = False
    lean: list[int] = field(default_factory=list)


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
    books = Books(commit_id)
    async with conn.transaction():
        held, left = await _lock(conn, current_chunks(batch), owner)
        mine = ours(batch, set(held), left)
        live = await write(conn, mine.settled, commit_id, once_more=once_more)
        late = await _settle_late(conn, _not_in(mine.settled, batch.settled))
        for settled in live:
            books.settle(settled)
        for settled, before in late:
            books.adjust(settled.entry.chunk, (settled.cost_nusd or 0) - (before or 0))
        for back in mine.back:
            books.take_back(back)
        async with conn.pipeline():
            for row in count_rows(live, owner, late=late):
                await conn.execute(SQL["count"], row)
        # Answers are not waited for inside a pipeline: should the connection break just then, the
        # driver waits for ever.
        granted = await _grant(conn, batch, mine, held, books)
        cursors = _cursors(mine, granted.counts)
        async with conn.pipeline():
            moved = await _move_on(conn, mine, live, held, cursors)
            await _take_earlier(conn, mine, cursors, owner)
            await post(conn, books)
        drained, lean = await _drained(conn, cursors)
    if granted.spent:
        await conn.execute(SQL["drop"], {"job_ids": granted.spent})
    _apply(batch, mine, granted, held, cursors)
    return Report({chunk.id for chunk in _chunks(batch)} - set(held), drained, moved, lean)


def _chunks(batch: Batch) -> list[LeasedChunk]:
    return [
        *(settled.entry.chunk for settled in batch.settled),
        *(window.chunk for window in batch.windows),
        *(back.chunk for back in batch.back),
    ]


def current_chunks(batch: Batch) -> dict[int, LeasedChunk]:
    """The batch's chunks by id. A process that lost a chunk and claimed it again may still
    have replies of its former lease: the later lease counts."""
    return {chunk.id: chunk for chunk in sorted(_chunks(batch), key=lambda chunk: chunk.fence)}


def ours(batch: Batch, held: set[int], left: Collection[int] = ()) -> Batch:
    """What of the batch belongs to the leases that are held; of those that are `left` to the
    sweep nothing but the answers."""
    kept = {id(chunk) for chunk in current_chunks(batch).values() if chunk.id in held}
    going = kept - {id(chunk) for chunk in current_chunks(batch).values() if chunk.id in left}
    return Batch(
        [settled for settled in batch.settled if id(settled.entry.chunk) in kept],
        [window for window in batch.windows if id(window.chunk) in going],
        [back for back in batch.back if id(back.chunk) in going],
    )


def _not_in(known: list[Settled], all_: list[Settled]) -> list[Settled]:
    ids = {id(settled) for settled in known}
    return [settled for settled in all_ if id(settled) not in ids]


async def _lock(
    conn: Connection, chunks: dict[int, LeasedChunk], owner: int
) -> tuple[dict[int, Halt], set[int]]:
    """The chunks that are still ours, each with whether its job may go on; and those of them
    that are left to the sweep."""
    ids = sorted(chunks)
    cursor = await conn.execute(
        SQL["lock_chunks"],
        {"ids": ids, "fences": [chunks[id_].fence for id_ in ids], "owner": owner},
    )
    rows = await cursor.fetchall()
    return {id_: Halt(halt) for id_, halt, _ in rows}, {id_ for id_, _, left in rows if left}


async def write(
    conn: Connection, live: list[Settled], commit_id: int, *, once_more: bool
) -> list[Settled]:
    """Appends attempts, results and answers that are kept; returns those that were new."""
    attempts = [attempt_row(s, commit_id) for s in live]
    finals = [(s, s.result) for s in live if s.result is not None]
    results = [result_row(s, result, commit_id) for s, result in finals]
    replies = [reply_row(s, s.kept) for s in live if s.kept is not None]
    if not once_more:
        await copy_rows(conn, SQL["copy_attempts"], attempts)
        await copy_rows(conn, SQL["copy_results"], results)
        await copy_rows(conn, SQL["copy_replies"], replies)
        return live
    new = await unstage_rows(conn, "attempts", attempts, SQL)
    fresh = [s for s in live if _key(s) in new]
    finals = [(s, s.result) for s in fresh if s.result is not None]
    results = [result_row(s, result, commit_id) for s, result in finals]
    new_results = {(job_id, seq) for job_id, seq, _ in
                   await unstage_rows(conn, "results", results, SQL)}  # fmt: skip
    for settled, _ in finals:
        if _key(settled)[:2] not in new_results:
            settled.result = None
    replies = [reply_row(s, s.kept) for s in fresh if s.kept is not None]
    if replies:
        await unstage_rows(conn, "replies", replies, SQL)
    return fresh


def _key(settled: Settled) -> tuple[int, int, int]:
    return settled.entry.chunk.job_id, settled.entry.seq, settled.entry.n


async def _settle_late(conn: Connection, stale: list[Settled]) -> list[tuple[Settled, int | None]]:
    """Calls whose chunk was taken over, and which were written off as unknown: their true
    costs. Returns those that were found, each with the cost that was booked for it."""
    late = []
    for settled in stale:
        if settled.status == AttemptStatus.UNKNOWN:
            continue
        cursor = await conn.execute(SQL["settle_late"], late_params(settled))
        row = await cursor.fetchone()
        if row is not None:
            late.append((settled, row[0]))
    return late


@dataclass(slots=True)
class Granted:
    """How many entries each of our windows (by its index) may send; those whose requests have
    earlier answers that have to do instead, and those that their job's plan has others for; the
    jobs that are stopped, because their budget is spent."""

    counts: dict[int, int] = field(default_factory=dict)
    dear: set[int] = field(default_factory=set)
    replan: set[int] = field(default_factory=set)
    spent: list[int] = field(default_factory=list)


async def _grant(
    conn: Connection, batch: Batch, mine: Batch, held: dict[int, Halt], books: Books
) -> Granted:
    """What our windows may send; reserves exactly that.

    Where there is a limit, all accounts of the commit are locked here and at once: one more
    that came later would not be in the order of ids.
    """
    open_windows = [(i, w) for i, w in enumerate(mine.windows) if not held[w.chunk.id]]
    if any(window.chunk.limited for _, window in open_windows):
        accounts = {account for chunk in _chunks(batch) for account in chunk.accounts}
        cursor = await conn.execute(SQL["lock_accounts"], {"ids": sorted(accounts)})
        books.know(await cursor.fetchall())
    granted = Granted()
    blocked: set[int] = set()
    for index, window in open_windows:
        granted.counts[index] = books.reserve(window)
        if granted.counts[index] == 0 and books.hopeless(window):
            if window.chunk.escalated:
                granted.dear.add(index)
            elif window.chunk.plan.choose == "optimize":
                # Others of its job may have room where this one has none: their plan knows.
                granted.replan.add(index)
            else:
                blocked.add(window.chunk.job_id)
    if blocked:
        granted.spent = sorted(blocked)
        await conn.execute(SQL["exhaust"], {"job_ids": granted.spent})
    return granted


@dataclass(slots=True)
class Cursor:
    """Where a chunk stands after this commit."""

    chunk: LeasedChunk
    sent: int
    open: int
    ended: bool

    @property
    def closes(self) -> bool:
        """Nothing in flight and nothing left to send."""
        return self.open == 0 and (self.ended or self.sent == self.chunk.size)


def _cursors(mine: Batch, grants: dict[int, int]) -> dict[int, Cursor]:
    cursors = {
        id_: Cursor(chunk, chunk.sent, chunk.open, chunk.ended)
        for id_, chunk in current_chunks(mine).items()
    }
    for settled in mine.settled:
        cursors[settled.entry.chunk.id].open -= 1
    for index, granted in grants.items():
        cursor = cursors[mine.windows[index].chunk.id]
        cursor.sent += granted
        cursor.open += granted
    for back in mine.back:
        cursor = cursors[back.chunk.id]
        cursor.sent -= back.unsent
        cursor.open -= back.unsent
        cursor.ended = True
    return cursors


async def _move_on(
    conn: Connection,
    mine: Batch,
    live: list[Settled],
    held: dict[int, Halt],
    cursors: dict[int, Cursor],
) -> bool:
    """New chunks for what goes on elsewhere, and the old chunks' cursors. Returns whether
    dispatch has something new."""
    moves = move_rows(live, {id_ for id_, halt in held.items() if halt is Halt.STOPPED})
    for row in moves:
        await conn.execute(SQL["move"], row)
    # The rest of a stopped job's chunk has no way to go on; that of a paused one is planned again.
    backs = [
        back
        for back in mine.back
        if not (back.drop or back.settle) and held[back.chunk.id] is not Halt.STOPPED
    ]
    whole = {
        back.chunk.id for back in backs if cursors[back.chunk.id].sent == 0 and not back.replan
    }
    ids = [id_ for id_ in sorted(cursors) if id_ not in whole]
    if ids:
        await conn.execute(
            SQL["advance"],
            {
                "ids": ids,
                "sents": [cursors[id_].sent for id_ in ids],
                "dones": [cursors[id_].closes for id_ in ids],
            },
        )
    for back in backs:
        id_ = back.chunk.id
        name = "give_back_whole" if id_ in whole else "give_back_rest"
        params = {"id": id_, "delay": back.delay, "reason": back.reason, "replan": back.replan}
        await conn.execute(SQL[name], params)
    return bool(moves or backs)


async def _take_earlier(
    conn: Connection, mine: Batch, cursors: dict[int, Cursor], owner: int
) -> None:
    """The unsent rest of chunks that are not to be sent gets its best earlier answers. Counted in
    the process' own rows, and so in nobody's way."""
    for back in mine.back:
        if not back.settle:
            continue
        chunk, sent = back.chunk, cursors[back.chunk.id].sent
        await take_replies(
            conn,
            part=chunk.part,
            job_id=chunk.job_id,
            round_=chunk.round,
            seqs=chunk.seqs[sent:],
            why=back.reason,
            writer=owner,
        )
        await conn.execute(SQL["leave_rest"], {"id": chunk.id})


async def post(conn: Connection, books: Books) -> None:
    """The ledger's lines, then the accounts: the last lock that is taken."""
    await conn.execute(SQL["write_ledger"], books.lines())
    await conn.execute(SQL["move_accounts"], books.totals())


async def _drained(conn: Connection, cursors: dict[int, Cursor]) -> tuple[list[int], list[int]]:
    """Jobs that have no open chunk left, and those whose next wave is due."""
    closed = sorted({cursor.chunk.job_id for cursor in cursors.values() if cursor.open == 0})
    if not closed:
        return [], []
    found = await conn.execute(SQL["drained"], {"job_ids": closed})
    return [row[0] for row in await found.fetchall()], await due_jobs(conn, closed)


def apply_cursor(chunk: LeasedChunk, moved: int, settled: int) -> None:
    """`moved` entries were newly intended (or, below zero, taken back), `settled` ended."""
    chunk.sent += moved
    chunk.open += moved - settled


def _apply(
    batch: Batch,
    mine: Batch,
    granted: Granted,
    held: dict[int, Halt],
    cursors: dict[int, Cursor],
) -> None:
    """Brings the memory in step with what was committed."""
    for cursor in cursors.values():
        chunk = cursor.chunk
        chunk.sent, chunk.open, chunk.ended = cursor.sent, cursor.open, cursor.ended
    for window in batch.windows:
        window.granted, window.stopped, window.paused, window.short = 0, True, False, False
    for index, window in enumerate(mine.windows):
        window.granted = granted.counts.get(index, 0)
        window.dear, window.replan = index in granted.dear, index in granted.replan
        halt = held[window.chunk.id]
        window.stopped, window.paused = halt is Halt.STOPPED, halt is Halt.PAUSED
        window.short = halt is Halt.NONE and window.granted < window.size
