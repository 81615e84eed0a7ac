"""What projects have bound, for those whose own limits say how much that may be."""

from dataclasses import dataclass

from db.connect import Connection, statements

SQL = statements("held")


@dataclass(frozen=True, slots=True)
class Held:
    """Requests of a project that are bound or with a lane; the deployments at which they are, or
    those stand that are planned; of these the mean tokens in and the mean limit of tokens out,
    None where there are none."""

    project: int
    name: str
    requests: int
    places: list[str]
    tokens: float | None
    outputs: float | None


async def held_by(conn: Connection, names: list[str], seconds: float) -> list[Held]:
    """Of those of the projects that have ever had a job. What waits for longer than so many
    seconds does not count."""
    cursor = await conn.execute(SQL["held"], {"names": names, "seconds": seconds})
    return [Held(*row) for row in await cursor.fetchall()]
