"""What stands where in the yard: backlog by deployment, tickets, workers, pauses."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.status import Cause, Condition, DeploymentStatus
from db.brakes import Braked, read_brakes
from db.connect import Connection, statements
from db.vitals import Vital, read_vitals

SQL = statements("overview")


@dataclass(frozen=True, slots=True)
class Backlog:
    """Requests of one deployment in one status of their chunks. `age` in seconds is how long
    the oldest of them has been due; it is negative where all are due later."""

    deployment: str
    status: str
    requests: int
    age: float


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """A deployment that was closed once. `left` is in seconds, None for no end; `drained` as in
    `core/status.py`."""

    deployment: str
    status: str
    cause: str | None
    reason: str
    margin: float
    left: float | None
    drained: bool = False

    @property
    def condition(self) -> Condition:
        """How it stands, as dispatch and lanes see it."""
        cause = Cause(self.cause) if self.cause else None
        return Condition(DeploymentStatus(self.status), cause, self.reason, self.left, self.drained)


@dataclass(frozen=True, slots=True)
class Worker:
    """A process with a lease. `lease` and `up` in seconds; a lease below zero ran out.
    `leased` counts the requests it holds and has not sent; `controls` says that it routes and
    dispatches."""

    id: int
    kind: str
    host: str
    pid: int
    lease: float
    up: float
    leased: int
    controls: bool = False


@dataclass(frozen=True, slots=True)
class Overview:
    """One look. `tickets` counts lanes by (provider, "queued" or "running"); `vitals` are what
    living processes see of each deployment, `braked` what holds their calls back."""

    active_jobs: int
    unrouted: int
    backlog: tuple[Backlog, ...]
    tickets: dict[tuple[str, str], int]
    deployments: tuple[DeploymentState, ...]
    workers: tuple[Worker, ...]
    vitals: Mapping[str, Vital] = field(default_factory=dict)
    braked: tuple[Braked, ...] = ()


async def overview(conn: Connection) -> Overview:
    """The yard as it stands; each part is read by a statement of its own."""
    jobs = await (await conn.execute(SQL["active_jobs"])).fetchone()
    unrouted = await (await conn.execute(SQL["unrouted"])).fetchone()
    backlog = await (await conn.execute(SQL["backlog"])).fetchall()
    lanes = await (await conn.execute(SQL["lanes"])).fetchall()
    states = await (await conn.execute(SQL["deployments"])).fetchall()
    workers = await (await conn.execute(SQL["processes"])).fetchall()
    return Overview(
        active_jobs=jobs[0] if jobs else 0,
        unrouted=unrouted[0] if unrouted else 0,
        backlog=tuple(Backlog(*row) for row in backlog),
        tickets={(provider, status): count for provider, status, count in lanes},
        deployments=tuple(DeploymentState(*row) for row in states),
        workers=tuple(Worker(*row) for row in workers),
        vitals=await read_vitals(conn),
        braked=await read_brakes(conn),
    )


async def recent_jobs(
    conn: Connection, project_id: int, limit: int = 30
) -> list[tuple[int, str, str]]:
    """(id, status, name) of the project's newest jobs, for completion in a shell."""
    params = {"project_id": project_id, "limit": limit}
    return await (await conn.execute(SQL["recent_jobs"], params)).fetchall()


async def project_names(conn: Connection) -> list[str]:
    """The projects of the yard, by name."""
    return [row[0] for row in await (await conn.execute(SQL["project_names"])).fetchall()]
