"""A whole yard to break: real processes, short leases, and eyes on every side of them."""

import asyncio
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import psycopg
from redis import Redis

from batchyard.embedded.detached import spawn, stop, wait_ready
from batchyard.embedded.home import Home, YardRecord
from batchyard.files import base_urls
from batchyard.services import ROOT
from batchyard.yard import Start
from core.ids import DEFAULT_PROJECT
from core.settings import Settings
from db.audit import AuditReport, audit
from db.connect import Connection, open_pool
from providers.catalog import resolve_deployments
from providers.configuration import load_settings
from tasks.context import Context
from tasks.submit import SubmitOptions, submit
from tests.faults.lanes import Silence
from workers.broker import CeleryPublisher, make_app

T = TypeVar("T")

LEASE = 3.0
LANES = 4
WINDOW = 64
IN_FLIGHT = 64
OUTPUT = 16
CONFIG = {
    "providers": {
        "sim": {
            "kind": "simulator",
            "timeout": 20,
            "profile": {
                "seed": 7,
                "latency": {"kind": "lognormal", "ms": 100, "sigma": 0.3},
                "models": {
                    "mini": {
                        "output_tokens": 10,
                        "price": {"input_per_mtok": 0.25, "output_per_mtok": 2},
                    }
                },
            },
        }
    },
    "deployments": {
        "mini": {
            "provider": "sim",
            "model": "mini",
            "limits": {"in_flight": IN_FLIGHT},
            "price": {"input_per_mtok": 0.25, "output_per_mtok": 2},
        }
    },
    "routes": {"default": {"candidates": ["mini"], "max_output": OUTPUT}},
}
HASTY = {"workers": 2, "lease": LEASE, "heartbeat": 0.7, "slice": 5, "lanes": LANES}
NO_FAULTS = {"p_429": 0, "p_reset": 0, "p_hang": 0, "retry_after_ms": 500}
CALM = {"latency": {"ms": 100}, "faults": NO_FAULTS}
TERMINAL = ("completed", "failed", "cancelled", "expired", "budget_exhausted")
PATIENCE = 120.0
Step = Callable[[Context, int, int], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Calls:
    """What the two sides say about a job's calls, request by request."""

    attempts: Counter[str]
    unseen: int
    problems: tuple[str, ...]


class Rig:
    """A running yard. All waits are generous: what is asserted is the outcome, not the time."""

    def __init__(
        self,
        folder: Path,
        yard: Mapping[str, Any] = HASTY,
        config: Mapping[str, Any] = CONFIG,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.home = Home(folder / "home")
        self.config = folder / "batchyard.yaml"
        self._env = dict(env or {})
        # JSON is YAML.
        self.config.write_text(json.dumps({**config, "yard": dict(yard)}), encoding="utf-8")
        self.settings: Settings = load_settings(self.config, {})
        self._process: subprocess.Popen[bytes] | None = None
        self._muted = False

    @property
    def record(self) -> YardRecord:
        record = self.home.record()
        assert record is not None
        return record

    def up(self) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        env = {**os.environ, **self._env, "BATCHYARD_HOME": str(self.home.path), "PYTHONPATH": path}
        self._process = spawn(Start(self.config, flower=False).argv(), self.home, env=env)
        wait_ready(self._process, self.home, timeout_s=PATIENCE)

    def down(self) -> None:
        stop(self.home)
        self.wait_gone()

    # Processes.

    def names(self, prefix: str = "") -> list[str]:
        return [s.name for s in self.record.services if s.name.startswith(prefix) and s.pid]

    def send(self, number: signal.Signals, *names: str) -> None:
        """Signals services (and "supervisor")."""
        for name in names:
            service = self.record.service(name)
            pid = service.pid if service else self.record.supervisor_pid
            assert pid is not None
            os.kill(pid, number)

    def kill(self, *names: str) -> None:
        """kill -9, all at once; a server's children go with it."""
        for name in names:
            self.send(signal.SIGKILL, name)

    def wait_ready(self, *names: str) -> None:
        """Until the supervisor says that these are ready (again)."""

        def ready() -> bool:
            services = [self.record.service(name) for name in names]
            return all(s is not None and s.state == "ready" for s in services)

        wait_until(ready, f"{names} ready")

    def wait_gone(self) -> None:
        """Until the supervisor has ended and nothing holds the home any more."""
        if self._process is not None:
            self._process.wait()
        wait_until(lambda: not self.home.locked(), "the end of the supervisor")

    def wait_idle(self) -> None:
        """Until no lane is left, and everything they had to say is written."""
        wait_until(
            lambda: self.one("select count(*) from lanes") == 0,
            "the end of the lanes",
            tell=lambda: str(self.sql("select * from lanes")),
        )

    def busy_worker(self) -> str:
        """A call worker with calls in flight."""

        found: list[str] = []

        def busy() -> bool:
            rows = self.sql(
                "select distinct p.pid from chunks c join processes p on p.id = c.owner"
                " where c.status = 'leased' and c.sent > 0"
            )
            pids = {row[0] for row in rows}
            found.extend(one.name for one in self.record.services if one.pid in pids)
            return bool(found)

        wait_until(busy, "a worker with calls in flight")
        return found[0]

    def wait_late(self, job: int) -> None:
        """Until replies have come that nobody waited for any more."""
        count = "select count(*) from attempts where job_id = %(job)s and status = 'late'"
        wait_until(lambda: self.one(count, job=job) > 0, "late replies")

    # Postgres and the broker.

    def sql(self, query: str, **params: object) -> list[tuple[Any, ...]]:
        """Rows; asks again while Postgres is away."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with psycopg.connect(self.record.database_url, autocommit=True) as conn:
                    return conn.execute(query.encode(), params).fetchall()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "Postgres does not come back"
                time.sleep(0.1)

    def one(self, query: str, **params: object) -> Any:
        ((value,),) = self.sql(query, **params)
        return value

    def break_connections_until(self, done: Callable[[], bool]) -> None:
        """Ends a part of all connections to Postgres, again and again."""
        random = Random(5)

        def broken() -> bool:
            self.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity where random() < 0.2"
                " and backend_type = 'client backend' and pid <> pg_backend_pid()"
            )
            time.sleep(random.random())
            return done()

        wait_until(broken, "the middle of a job with broken connections")

    def broker(self) -> Redis:
        return Redis.from_url(self.record.broker_url)

    def _bell(self) -> CeleryPublisher:
        return CeleryPublisher(make_app(self.record.broker_url, self.settings.providers))

    def ring(self, step: str, *args: int | str, queue: str) -> None:
        """Sends a ticket of our own."""
        asyncio.run(self._bell().publish(step, *args, queue=queue))

    @contextmanager
    def mute(self) -> Iterator[None]:
        """What is submitted in this block rings no bell."""
        self._muted = True
        try:
            yield
        finally:
            self._muted = False

    # Jobs.

    def submit(
        self,
        total: int,
        *,
        budget_nusd: int | None = None,
        route: str = "default",
        project: str = DEFAULT_PROJECT,
    ) -> int:
        options = SubmitOptions(project=project, budget_nusd=budget_nusd, route=route)
        return asyncio.run(self._submit(total, options))

    async def _submit(self, total: int, options: SubmitOptions) -> int:
        lines = [
            {"prompt": f"Which label has message {n}?", "max_tokens": OUTPUT} for n in range(total)
        ]
        async with self._context() as context:
            return await submit(context, lines, options)

    def hand(self, step: Step, job: int) -> None:
        """A user's hand on the job: `pause`, `resume` or `cancel`."""
        asyncio.run(self._hand(step, job))

    async def _hand(self, step: Step, job: int) -> None:
        project = self._project(job)
        async with self._context() as context:
            await step(context, project, job)

    @asynccontextmanager
    async def _context(self) -> AsyncIterator[Context]:
        deployments = resolve_deployments(self.settings, base_urls(self.home))
        publisher = Silence() if self._muted else self._bell()
        async with open_pool(self.record.database_url) as pool:
            yield Context(self.settings, deployments, pool, publisher)

    def results(self, job: int) -> int:
        return int(self.one("select count(*) from results where job_id = %(job)s", job=job))

    def wait_results(self, job: int, count: int) -> None:
        """Until the job has at least so many results: the middle of a job."""
        wait_until(lambda: self.results(job) >= count, f"{count} results of job_{job}")

    def wait_end(self, job: int) -> str:
        """Until the job has ended; its status."""

        wait_until(lambda: self.ended(job), f"the end of job_{job}", tell=lambda: self._where(job))
        return self._status(job)

    def ended(self, job: int) -> bool:
        return self._status(job) in TERMINAL

    def _status(self, job: int) -> str:
        return str(self.one("select status from jobs where id = %(job)s", job=job))

    def _where(self, job: int) -> str:
        chunks = self.sql(
            "select status, deployment, owner, count(*), sum(size), min(reason) from chunks"
            " where job_id = %(job)s group by 1, 2, 3",
            job=job,
        )
        lanes = self.sql("select status, process_id, count(*) from lanes group by 1, 2")
        return f"chunks {chunks}, lanes {lanes}, results {self.results(job)}"

    def account(self, job: int) -> tuple[int, int, int]:
        """Spent, reserved and the limit, in nano-dollars."""
        ((spent, reserved, limit),) = self.sql(
            "select a.spent_nusd, a.reserved_nusd, a.limit_nusd from accounts a"
            " join jobs j on j.account_id = a.id where j.id = %(job)s",
            job=job,
        )
        return spent, reserved, limit

    def largest_bound(self) -> int:
        """What a request of `submit` may cost at most, by the yard's own reckoning."""
        job = self.submit(1)
        self.wait_end(job)
        return int(self.one("select max(bound_nusd) from attempts where job_id = %(job)s", job=job))

    def audit(self, job: int) -> AuditReport:
        project = self._project(job)
        return self.ask(lambda conn: audit(conn, project, job))

    def _project(self, job: int) -> int:
        return int(self.one("select project_id from jobs where id = %(job)s", job=job))

    def ask(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        """What a function of db/ says."""

        async def asked() -> T:
            async with open_pool(self.record.database_url, 1) as pool, pool.connection() as conn:
                return await question(conn)

        return asyncio.run(asked())

    # The simulator.

    def simulate(self, provider: str = "sim", /, **patch: object) -> None:
        """Changes a provider's profile on the fly."""
        self._http(f"/{provider}/config", json.dumps(patch).encode())

    def stats(self) -> dict[str, Any]:
        """The provider's own totals."""
        return dict(self._http("/sim/stats"))

    def calls(self, job: int) -> Calls:
        """Holds the job's attempts against the simulator's own counts."""
        seen = self._http("/sim/stats?ids=1")["ids"]
        rows = self.sql(
            "select seq, array_agg(status) from attempts where job_id = %(job)s group by seq",
            job=job,
        )
        total: Counter[str] = Counter()
        unseen, problems = 0, []
        for seq, statuses in rows:
            ours = Counter(statuses)
            theirs = seen.pop(f"{job}-{seq}", {"calls": 0, "billed": 0})
            total.update(ours)
            unseen += len(statuses) - theirs["calls"]
            doubt = ours["unknown"] + ours["late"]
            explained = (
                0 <= len(statuses) - theirs["calls"] <= doubt
                and ours["ok"] <= theirs["billed"] <= ours["ok"] + doubt
            )
            if not explained:
                problems.append(f"request {seq}: attempts {dict(ours)}, the provider saw {theirs}")
        problems += [f"{name} has no attempt" for name in seen if name.startswith(f"{job}-")]
        return Calls(total, unseen, tuple(problems))

    def _http(self, path: str, body: bytes | None = None) -> Any:
        service = self.record.service("simulator")
        assert service is not None
        url = f"http://127.0.0.1:{service.port}{path}"
        with urllib.request.urlopen(url, data=body, timeout=60) as reply:
            return json.load(reply)


def wait_until(
    true: Callable[[], bool], what: str, *, tell: Callable[[], str] = lambda: ""
) -> None:
    """Asks every 50 ms until it is so. Fails after a time that no healthy run comes near."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s for {what}. {tell()}"
        time.sleep(0.05)


@contextmanager
def running_yard(
    folder: Path,
    yard: Mapping[str, Any] = HASTY,
    config: Mapping[str, Any] = CONFIG,
    env: Mapping[str, str] | None = None,
) -> Iterator[Rig]:
    """A yard in a folder, stopped at the end of the block."""
    rig = Rig(folder, yard, config, env)
    rig.up()
    try:
        yield rig
    finally:
        rig.down()


def check_whole(rig: Rig, job: int, total: int, *, simulated: bool = True) -> Calls | None:
    """Every request has one result, every law of the audit holds, every call is explained."""
    rows = rig.sql(
        "select status, count(*), count(distinct seq) from results where job_id = %(job)s"
        " group by 1",
        job=job,
    )
    assert rows == [("completed", total, total)]
    report = rig.audit(job)
    assert report.violations == ()
    reserved = rig.one(
        "select a.reserved_nusd from accounts a join jobs j on j.account_id = a.id"
        " where j.id = %(job)s",
        job=job,
    )
    assert reserved == 0
    if not simulated:
        return None
    calls = rig.calls(job)
    assert calls.problems == ()
    return calls
