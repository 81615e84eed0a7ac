"""Projects: who shares the yard, what each weighs and has spent."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import NotFoundError
from core.money import usd_text
from db.connect import Connection, only_row, statements

SQL = statements("projects")


@dataclass(frozen=True, slots=True)
class Project:
    """Who owns jobs, and the account that counts what they spend."""

    id: int
    account_id: int


@dataclass(frozen=True, slots=True)
class ProjectLine:
    """A project in a list; money in nano-dollars."""

    name: str
    weight: float
    active_jobs: int
    jobs: int
    spent_nusd: int

    @property
    def spent_usd(self) -> str | None:
        """Decimal dollars."""
        return usd_text(self.spent_nusd)


async def open_project(conn: Connection, name: str, weight: float = 1.0) -> Project:
    """The project and its account, made when they are new; the weight of one that is there
    stays. Call it outside of a long transaction: others of the same project would wait for
    its end."""
    await conn.execute(SQL["put_project"], {"name": name, "weight": weight})
    id_ = await find_project(conn, name)
    return Project(id_, await put_account(conn, id_, "project", None))


async def find_project(conn: Connection, name: str) -> int:
    """The project's id. Raises NotFoundError for an unknown one."""
    row = await (await conn.execute(SQL["project"], {"name": name})).fetchone()
    if row is None:
        raise NotFoundError(f"There is no project {name!r}. Submit a job to it first")
    return int(row[0])


async def put_weights(conn: Connection, weights: Mapping[str, float]) -> None:
    """The projects' weights as the configuration has them, those it does not name at 1; makes
    projects that are new."""
    names = sorted(weights)
    params = {"names": names, "weights": [weights[name] for name in names]}
    await conn.execute(SQL["put_weights"], params)


async def list_projects(conn: Connection) -> list[ProjectLine]:
    """All projects of the yard, by name."""
    return [ProjectLine(*row) for row in await (await conn.execute(SQL["list"])).fetchall()]


async def put_account(
    conn: Connection, project: int, kind: str, limit_nusd: int | None, ref: str = ""
) -> int:
    """The id of the account, made when it is new; the limit in nano-dollars."""
    params = {"project_id": project, "kind": kind, "ref": ref, "limit_nusd": limit_nusd}
    await conn.execute(SQL["put_account"], params)
    return int((await only_row(conn, SQL["account"], params))[0])
