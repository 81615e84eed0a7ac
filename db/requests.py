"""Writing a job's requests: Postgres' binary COPY format, packed by hand.

Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from collections.abc import Iterator
from struct import Struct
from typing import IO, NamedTuple

from psycopg import sql

from db.connect import Connection, statements
from db.parts import is_own, partition_of

SQL = statements("requests")
ROUTE_CHUNK = 2000
BLOCK = 256 * 2**10
HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
NO_COMMIT = 0

_request_head = Struct("!hiiiqiii").pack  # 10 fields: part, job_id, seq, length of custom_id
_row_and_target = Struct("!iii").pack
_length = Struct("!i").pack
_refusal_head = Struct("!hiiiqiiihi6si").pack  # 7 fields: …, round, "failed", length of error
_commit = Struct("!iq").pack


class Row(NamedTuple):
    """A request as it is stored. `body` is JSON without model, stream and wishes; `metadata`
    and `wishes` are JSON, or empty where there are none."""

    custom_id: str
    target: str
    body: bytes
    metadata: bytes
    prompt_hash: bytes
    wishes: bytes = b""


class RequestBlocks:
    """Turns rows into COPY blocks. The results of requests that are refused at once go to
    `spool`, a temporary file, because one COPY at a time runs on a connection.

    `in_order` says that every custom_id was longer than the one before, or as long and greater,
    as those are that count upwards: then no two are equal, and nobody has to look."""

    def __init__(self, part: int, job_id: int, spool: IO[bytes]) -> None:
        self.total = 0
        self.refused = 0
        self.in_order = True
        self._last = b""
        self._part = part
        self._job_id = job_id
        self._pieces: list[bytes] = [HEADER]
        self._size = 0
        self._refusals = spool
        self._refusals.write(HEADER)

    def add(self, line: int, row: Row) -> bool:
        """Packs a row; True when a block is full and `take` is due."""
        custom_id, target = row.custom_id.encode(), row.target.encode()
        if self.in_order:
            last, length = self._last, len(custom_id)
            self.in_order = length > len(last) or (length == len(last) and custom_id > last)
            self._last = custom_id
        pieces = self._pieces
        seq = self.total
        pieces += (
            _request_head(10, 4, self._part, 8, self._job_id, 4, seq, len(custom_id)),
            custom_id,
            _row_and_target(4, line, len(target)),
            target,
            _length(len(row.body)),
            row.body,
            _length(len(row.metadata)) + row.metadata if row.metadata else NULL,
            _length(len(row.prompt_hash)) + row.prompt_hash,
            _length(len(row.wishes)) + row.wishes if row.wishes else NULL,
        )
        self.total = seq + 1
        self._size += len(row.body) + 100
        return self._size >= BLOCK

    def refuse(self, error: bytes) -> None:
        """The row added last is a failed request; `error` is its JSON."""
        key = (4, self._part, 8, self._job_id, 4, self.total - 1, 2, 1)
        head = _refusal_head(7, *key, 6, b"failed", len(error))
        self._refusals.write(head + error + _commit(8, NO_COMMIT))
        self.refused += 1

    def take(self) -> bytes:
        """What has been packed since the last call."""
        block = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return block

    def refusals(self) -> Iterator[bytes]:
        """The blocks of the refused requests' results."""
        self._refusals.write(TRAILER)
        self._refusals.seek(0)
        while block := self._refusals.read(BLOCK):
            yield block


def copy_statement(part: int) -> bytes | sql.Composed:
    """What takes the blocks: the tables' own COPY, or a new part's."""
    if not is_own(part):
        return SQL["copy_requests"]
    return sql.SQL(SQL["copy_own_requests"].decode()).format(
        requests=partition_of("requests", part)
    )


class Duplicate(NamedTuple):
    """A row whose custom_id an earlier row has."""

    row: int
    first: int
    custom_id: str


async def copy_refusals(conn: Connection, blocks: RequestBlocks) -> None:
    """Writes the results of the requests that were refused at once."""
    async with conn.cursor() as cursor, cursor.copy(SQL["copy_refused"]) as copy:
        for block in blocks.refusals():
            await copy.write(block)


async def expect_many_rows(conn: Connection) -> None:
    """For the rest of the transaction, plans are made for rows that have no statistics yet."""
    await conn.execute(SQL["no_nested_loops"])


async def duplicates(conn: Connection, part: int, job_id: int, limit: int) -> list[Duplicate]:
    """Later rows of a repeated custom_id, in input order."""
    where = {"part": part, "job_id": job_id, "limit": limit}
    cursor = await conn.execute(SQL["duplicates"], where)
    return [Duplicate(*row) for row in await cursor.fetchall()]


async def refuse_duplicates(conn: Connection, part: int, job_id: int) -> int:
    """Fails the later rows of every repeated custom_id; returns how many. What was refused, for
    this or anything else, then has the name of its line where another request has its own:
    results are joined by it."""
    where = {"part": part, "job_id": job_id}
    cursor = await conn.execute(SQL["refuse_duplicates"], where)
    await conn.execute(SQL["rename_refused"], where)
    return cursor.rowcount


class Handed(NamedTuple):
    """A job just handed in, how many of its requests a pilot tries, and (target, body) of its
    first good requests."""

    total: int
    refused: int
    limit_nusd: int | None
    pilot: int | None
    sample: list[tuple[str, str]]


async def handed_in(conn: Connection, project_id: int, job_id: int, sample: int) -> Handed | None:
    """The job with up to `sample` requests of it; None where the project has no such job."""
    where = {"project_id": project_id, "job_id": job_id, "limit": sample}
    job = await (await conn.execute(SQL["handed_in"], where)).fetchone()
    if job is None:
        return None
    part, total, limit_nusd, refused, pilot = job
    rows = await (await conn.execute(SQL["sample"], {**where, "part": part})).fetchall()
    return Handed(total, refused, limit_nusd, pilot, [(target, body) for target, body in rows])


async def put_route_chunks(conn: Connection, part: int, job_id: int, total: int) -> int:
    """Route chunks over all requests without a result; returns how many."""
    params = {"part": part, "job_id": job_id, "total": total, "size": ROUTE_CHUNK}
    return (await conn.execute(SQL["route_chunks"], params)).rowcount
