"""Writing off what a dead process may have sent."""

from core.work import Settled
from db.connect import Connection
from db.ledger import Books
from db.record import SQL, post, write
from db.tally import count_rows, move_rows


async def write_off(
    conn: Connection,
    settled: list[Settled],
    *,
    stopped: set[int],
    commit_id: int,
    owner: int,
) -> None:
    """Records the calls in doubt as `unknown` at their bounds, within the caller's
    transaction. Each goes on in a chunk of its own, save those of `stopped` chunks."""
    if not settled:
        return
    books = Books(commit_id)
    for one in await write(conn, settled, commit_id, once_more=False):
        books.settle(one)
    for row in count_rows(settled, owner):
        await conn.execute(SQL["count"], row)
    for one in settled:
        for row in move_rows([one], stopped):
            await conn.execute(SQL["move"], row)
    await post(conn, books)
