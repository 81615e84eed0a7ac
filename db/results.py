"""A job's results as a stream of blocks: one line or row a request, in the order of the input.

Postgres builds the JSON lines around the stored bodies and streams them, so that memory stays
flat however many there are.
"""

import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any, Literal

import msgspec
from psycopg import AsyncCopy

from core.errors import NotFoundError
from db.connect import Connection, statements

SQL = statements("results")
Format = Literal["jsonl", "csv"]
BLOCK = 256 * 2**10
COPY_SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
COPY_HEADER = len(COPY_SIGNATURE) + 8
COPY_TRAILER = b"\xff\xff"
ONE_FIELD = 6  # where the data of a tuple's only field begin
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
    """What export needs to know of a job."""

    id: int
    part: int
    status: str
    total: int
    round: int
    ended: bool


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
) -> AsyncGenerator[bytes]:
    """Blocks of whole lines (JSONL as OpenAI's batch output, or CSV with a head line).

    While the job runs, only requests that have ended are there. Raises NotFoundError.
    """
    job = await find_exported(conn, project_id, job_id)
    code, message = IMPLIED.get(job.status, NO_RESULT)
    params = {
        "part": job.part,
        "job_id": job.id,
        "ended": job.ended,
        "outcome": job.status if job.status in IMPLIED else "failed",
        "implied": json.dumps({"code": code, "message": message}),
    }
    name, write, head = "lines", _json_line, b""
    if format == "csv":
        name, write, head = "rows", _csv_line, CSV_HEAD
    async with conn.transaction(), conn.cursor() as cursor:
        await cursor.execute(SQL["in_order"])
        async with cursor.copy(_query(name, job.round), params) as copy:
            async for block in _blocks(copy, write, head):
                yield block


def _query(name: str, round_: int) -> bytes:
    results = SQL["first_round" if round_ == 1 else "current"]
    return SQL[name].replace(b"{results}", results).replace(b"{calls}", SQL["calls"])


async def _blocks(
    copy: AsyncCopy, write: Callable[[bytes], bytes], head: bytes
) -> AsyncGenerator[bytes]:
    """Tuples come one a message: a 16-bit count of fields, then each with its 32-bit length."""
    lines = [head] if head else []
    size = 0
    async for message in copy:
        row = bytes(message)
        if row.startswith(COPY_SIGNATURE):
            row = row[COPY_HEADER:]
        # At the trailer the loop goes on: the server's last word has to be read.
        if row and row != COPY_TRAILER:
            line = write(row)
            lines.append(line)
            size += len(line)
        if size >= BLOCK:
            yield b"".join(lines)
            lines.clear()
            size = 0
    if lines:
        yield b"".join(lines)


def _json_line(row: bytes) -> bytes:
    line = row[ONE_FIELD:]
    if b"\n" in line or b"\r" in line:
        # Only a body that a provider wrote over several lines has such whitespace.
        line = line.replace(b"\n", b" ").replace(b"\r", b" ")
    return line + b"\n"


def _csv_line(row: bytes) -> bytes:
    head, body, tail, error = _fields(row)
    text, reason = answer_text(body) if body else ("", "")
    answer = f",{_quoted(text)},{_quoted(reason)}".encode()
    return head + answer + tail + _quoted(error_text(error)).encode() + b"\r\n"


def _fields(row: bytes) -> list[bytes]:
    found, at = [], 2
    while at < len(row):
        (length,) = _length.unpack_from(row, at)
        at += 4
        found.append(row[at : at + length] if length > 0 else b"")
        at += max(length, 0)
    return found


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
