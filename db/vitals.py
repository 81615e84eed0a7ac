"""How deployments fare, as the processes that call them have seen it lately."""

from collections.abc import Iterable
from typing import NamedTuple

from db.connect import Connection, statements

SQL = statements("vitals")


class Vital(NamedTuple):
    """A deployment in one process, or in all that live: calls in flight, answered and failed
    ones (those that were throttled apart), and the recent means: milliseconds and output tokens
    of an answer, None where nobody knows them, and calls a second."""

    deployment: str
    in_flight: int = 0
    answered: int = 0
    failed: int = 0
    latency_ms: float | None = None
    output_tokens: float | None = None
    rate: float = 0.0


async def put_vitals(conn: Connection, process_id: int, vitals: Iterable[Vital]) -> None:
    """Keeps what a process has to say; nothing where its row is gone."""
    columns = [*zip(*vitals, strict=True)]
    names = [f"{field}s" for field in Vital._fields]
    params = {name: [*column] for name, column in zip(names, columns, strict=True)}
    await conn.execute(SQL["put"], {**params, "process_id": process_id})


async def read_vitals(conn: Connection) -> dict[str, Vital]:
    """Over all living processes, by deployment: sums, and means by what each one calls."""
    return {row[0]: Vital(*row) for row in await (await conn.execute(SQL["read"])).fetchall()}
