"""What holds calls back, as the processes that make them have seen it lately."""

from collections.abc import Iterable
from typing import NamedTuple

from core.brake import Brake, Limit
from db.connect import Connection, statements

SQL = statements("brakes")


class Braked(NamedTuple):
    """A limit that calls to a deployment wait for: its scope's key, what of it (`Limit`), the
    limit in force, the share of the time that they waited, and for how many seconds that holds
    unless it is said again."""

    deployment: str
    scope: str
    what: str
    most: float
    share: float
    ahead: float = 0.0

    @property
    def brake(self) -> Brake:
        return Brake(self.scope, Limit(self.what), self.most)


async def put_brakes(conn: Connection, process_id: int, brakes: Iterable[Braked]) -> None:
    """Keeps what a process has to say; nothing where its row is gone."""
    columns = [*zip(*brakes, strict=True)]
    names = [f"{field}s" for field in Braked._fields]
    params = {name: [*column] for name, column in zip(names, columns, strict=True)}
    await conn.execute(SQL["put"], {**params, "process_id": process_id})
    await conn.execute(SQL["forget"], {"process_id": process_id})


async def read_brakes(conn: Connection) -> tuple[Braked, ...]:
    """What holds now, over all living processes: by deployment, what holds it back most first."""
    return tuple(Braked(*row) for row in await (await conn.execute(SQL["read"])).fetchall())
