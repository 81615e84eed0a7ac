"""A job's results as a stream of blocks: one line or row a request, in the order of the input.

Postgres builds the JSON lines around the stored bodies and puts a few hundred of them into each
row that it streams, so that a line costs next to nothing here and memory stays flat.
"""

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any, Literal

import msgspec

from core.errors import NotFoundError
from db.connect import Connection, statements

SQL = statements("results")
Format = Literal["jsonl", "csv"]
Progress = Callable[[int], None]
BLOCK = 256 * 2**10
COPY_SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
COPY_HEADER = len(COPY_SIGNATURE) + 8
COPY_TRAILER = b"\xff\xff"
ONE_FIELD = 6  # where the data of a tuple's only field begin
ARRAY_HEAD = 20  # dimensions, flags, type of the elements, how many, number of the first
LINE_END = b"\x1e"
FRAME = 400  # bytes of a line around its body, about
MOST_LINES = 1024
CSV_HEAD = (
    b"custom_id,status,text,finish_reason,deployment,attempts,cost_usd,input_tokens,output_tokens,"
    b"latency_ms,error\r\n"
)

IMPLIED = {
    "cancelled": ("batch_cancelled", "This request was not run: its job was cancelled."),
    "expired": ("batch_expired", "This request was not run before its job's deadline."),
    "budget_exhausted": (
        "budget_exhausted",
        "This request was not run: the rest of the job's budget could not cover it.",
    ),
}
NO_RESULT = ("no_result", "This request has no result. `batchyard audit` looks into it.")


@dataclass(frozen=True, slots=True)
class Exported:
    """What export needs to know of a job. `joined`: requests of linked jobs answer for some of
    its own."""

    id: int
    part: int
    status: str
    total: int
    round: int
    ended: bool
    joined: bool


class _Message(msgspec.Struct):
    content: Any = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list)


class _Error(msgspec.Struct):
    code: Any = None
    message: Any = None


_length = Struct("!i")
_completion = msgspec.json.Decoder(_Completion)
_error = msgspec.json.Decoder(_Error)


def _unseen(_: int) -> None:
    """Nobody looks."""


async def find_exported(conn: Connection, project_id: int, job_id: int) -> Exported:
    """The job. Raises NotFoundError when the project has no such job."""
    where = {"project_id": project_id, "job_id": job_id}
    row = await (await conn.execute(SQL["job"], where)).fetchone()
    if row is None:
        raise NotFoundError(f"There is no job_{job_id} here. `batchyard jobs` lists them")
    return Exported(*row)


async def stream_results(
    conn: Connection,
    project_id: int,
    job_id: int,
    format: Format = "jsonl",  # noqa: A002
    progress: Progress = _unseen,
) -> AsyncGenerator[bytes]:
    """Blocks of whole lines (JSONL as OpenAI's batch output, or CSV with a head line).

    While the job runs, only requests that have ended are there; `progress` hears how many have
    been handed out. Raises NotFoundError.
    """
    job = await find_exported(conn, project_id, job_id)
    code, message = IMPLIED.get(job.status, NO_RESULT)
    params: dict[str, Any] = {
        "part": job.part,
        "job_id": job.id,
        "ended": job.ended,
        "outcome": job.status if job.status in IMPLIED else "failed",
        "implied": json.dumps({"code": code, "message": message}),
        "last": job.total - 1,
    }
    name, write = ("rows", _csv_lines) if format == "csv" else ("lines", _json_lines)
    async with conn.transaction(), conn.cursor() as cursor:
        await cursor.execute(SQL["scored"], params)
        [(scored,)] = await cursor.fetchall()
        await cursor.execute(SQL["in_order"])
        await cursor.execute(SQL["usual_size"], params)
        [(usual,)] = await cursor.fetchall()
        params["size"] = max(1, min(MOST_LINES, BLOCK // (usual + FRAME)))
        if format == "csv":
            yield CSV_HEAD
        done = 0
        async with cursor.copy(_query(name, job, scored=scored), params) as copy:
            async for data in copy:
                row = bytes(data)
                if row.startswith(COPY_SIGNATURE):
                    row = row[COPY_HEADER:]
                # At the trailer the loop goes on: the server's last word has to be read.
                if row and row != COPY_TRAILER:
                    lines, count = write(row)
                    done += count
                    progress(done)
                    yield lines


def _query(name: str, job: Exported, *, scored: bool) -> bytes:
    plain = "first_round" if job.round == 1 else "current"
    attempts = SQL["all_attempts"] if job.joined else b"attempts"
    query = SQL[name].replace(b"{calls}", SQL["calls"]).replace(b"{attempts}", attempts)
    query = query.replace(b"{results}", SQL["joined" if job.joined else plain])
    query = query.replace(b"{by}", b"coalesce(r.joined, '')" if job.joined else b"''")
    query = query.replace(b"{scores}", SQL["scores"] if scored else b"''")
    return query.replace(b"{told}", SQL["told"]).replace(b"{asked}", SQL["asked"])


def _json_lines(row: bytes) -> tuple[bytes, int]:
    lines = row[ONE_FIELD:]
    if b"\n" in lines or b"\r" in lines:
        # Only a body that a provider wrote over several lines has such whitespace.
        lines = lines.replace(b"\n", b" ").replace(b"\r", b" ")
    return lines.replace(LINE_END, b"\n"), lines.count(LINE_END)


def _csv_lines(row: bytes) -> tuple[bytes, int]:
    """Tuples come one a message: a 16-bit count of fields, then each with its 32-bit length."""
    heads, bodies, tails, errors = (_elements(field) for field in _fields(row, 2))
    lines = [*map(_csv_line, heads, bodies, tails, errors)]
    return b"".join(lines), len(lines)


def _csv_line(head: bytes, body: bytes, tail: bytes, error: bytes) -> bytes:
    text, reason = answer_text(body) if body else ("", "")
    answer = f",{_quoted(text)},{_quoted(reason)}".encode()
    return head + answer + tail + _quoted(error_text(error)).encode() + b"\r\n"


def _elements(array: bytes) -> Iterator[bytes]:
    return _fields(array, ARRAY_HEAD)


def _fields(data: bytes, at: int) -> Iterator[bytes]:
    """What stands behind `at`, each with its length before it; a NULL is empty."""
    unpack = _length.unpack_from
    while at < len(data):
        (length,) = unpack(data, at)
        at += 4
        if length > 0:
            yield data[at : at + length]
            at += length
        else:
            yield b""


def _quoted(text: str) -> str:
    if '"' in text or "," in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def answer_text(body: bytes | str) -> tuple[str, str]:
    """The text of a chat completion's first choice and its finish reason."""
    try:
        choices = _completion.decode(body).choices
    except msgspec.DecodeError:
        return "", ""
    if not choices:
        return "", ""
    message = choices[0].message
    content = message.content if message.content is not None else message.refusal
    text = content if isinstance(content, str) else "" if content is None else json.dumps(content)
    return text, choices[0].finish_reason or ""


def error_text(error: bytes | str | None) -> str:
    """A stored error as `code: message`."""
    if not error:
        return ""
    try:
        found = _error.decode(error)
    except msgspec.DecodeError:
        return ""
    return ": ".join(str(part) for part in (found.code, found.message) if part)
