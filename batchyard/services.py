"""What `batchyard up` runs: the services of a yard, composed from its configuration.

    postgres ─► migrate ─┐
    valkey ──────────────┼─► beat, worker-control ────────┬─► flower
    simulator, model ────┴─► worker-call-1 … worker-call-n ┘

Each is a direct child of the supervisor. Provider keys reach only the call workers.
"""

import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from batchyard.embedded.home import Home
from batchyard.embedded.model import model_service
from batchyard.embedded.postgres import EmbeddedPostgres
from batchyard.embedded.service import Restart, Service, plain_environment
from batchyard.embedded.valkey import EmbeddedValkey
from batchyard.environment import outside
from batchyard.files import put_base_urls, put_environment, settings_file, write_private
from batchyard.watching import metrics_address
from core.provider import ProviderSettings
from core.settings import Settings
from providers.secrets import SECRET_NAME, key_names
from providers.simulator.profile import load_profile
from workers.address import keeps_limits
from workers.broker import STEP_QUEUES, provider_queue
from workers.signs import CLOCK_RUNS, YARD_OPEN
from workers.telemetry.endpoint import VARIABLE as METRICS_VARIABLE

ROOT = Path(__file__).parents[1]
FLOWER_USER = "batchyard"
CONTROL_THREADS = 4
MODEL_PARALLEL, MODEL_CONTEXT = 4, 1024
MOST_CALL_THREADS = 128


@dataclass(frozen=True, slots=True)
class Layout:
    """The services of a yard in any order, and where they will be. URLs hold passwords."""

    services: tuple[Service, ...]
    database_url: str
    broker_url: str
    flower_url: str

    def owns(self, name: str) -> bool:
        """Whether it runs this service itself, and not an outside server."""
        return any(service.name == name for service in self.services)


@dataclass(frozen=True, slots=True)
class _Base:
    """What every service of ours is made from."""

    home: Home
    settings: Settings
    environ: Mapping[str, str]
    ours: Mapping[str, str]

    def env(self, *, keys: bool = False) -> dict[str, str]:
        """A child's environment; with `keys`, the provider keys it may use are in it."""
        references = key_names(self.settings)
        kept = {
            name: value
            for name, value in self.environ.items()
            if (name in references and keys)
            or (name not in references and not SECRET_NAME.search(name))
        }
        return kept | {"PYTHONPATH": import_path(kept)} | dict(self.ours)


def import_path(environ: Mapping[str, str]) -> str:
    """PYTHONPATH with this project on it, whatever the child's working directory."""
    given = environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([str(ROOT), *filter(None, given)]))


def compose(
    home: Home,
    settings: Settings,
    *,
    environ: Mapping[str, str],
    folder: Path,
    workers: int | None = None,
    flower: bool = True,
) -> Layout:
    """The services of a yard; call it while holding `home.lock()`.

    `folder` is where the configuration's relative paths start; `workers` overrides
    `yard.workers`. BATCHYARD_DATABASE_URL and BATCHYARD_BROKER_URL stand in for the embedded
    servers; a broker that cannot also keep the limits gets the embedded Valkey beside it.
    Raises ConfigError on an address or a simulator profile that cannot be used, and
    MissingBinariesError where there is no embedded server and no URL.
    """
    services: list[Service] = []
    database_url, broker_url, limiter_url = outside(environ)
    if not database_url:
        postgres = EmbeddedPostgres(home)
        services.append(postgres.service())
        database_url = postgres.url
    if not broker_url or not (limiter_url or keeps_limits(broker_url)):
        valkey = EmbeddedValkey(home)
        services.append(valkey.service())
        broker_url, limiter_url = broker_url or valkey.url, limiter_url or valkey.url
    managed, base_urls = _managed(home, settings, folder)
    put_base_urls(home, base_urls)
    ours = {
        "BATCHYARD_HOME": str(home.path),
        "BATCHYARD_CONFIG": str(settings_file(home)),
        "BATCHYARD_DATABASE_URL": database_url,
        "BATCHYARD_BROKER_URL": broker_url,
        "BATCHYARD_LIMITER_URL": limiter_url or broker_url,
        "BATCHYARD_BASE_URLS": json.dumps(base_urls),
    }
    put_environment(home, ours)
    base = _Base(home, settings, environ, ours | {"PYTHONUNBUFFERED": "1"})
    _write_settings(home, settings)
    services += [*managed, _migrate(base), _control(base), _beat(base)]
    services += _callers(base, workers or settings.yard.workers, [one.name for one in managed])
    flower_url = ""
    if flower:
        port = home.port("flower")
        flower_url = f"http://127.0.0.1:{port}"
        # Flower asks once which queues there are: workers that come later it does not show.
        workers_first = tuple(one.name for one in services if one.name.startswith("worker-"))
        services.append(replace(_flower(base, port), depends_on=workers_first))
    return Layout(tuple(services), database_url, broker_url, flower_url)


def _write_settings(home: Home, settings: Settings) -> None:
    # Workers read this copy: one that is restarted after an edit of the user's file runs the
    # same configuration as its neighbours. It holds references, not secrets.
    text = settings.model_dump_json(exclude_unset=True, indent=2)
    write_private(settings_file(home), text)


# Providers that the yard runs itself.


def _managed(home: Home, settings: Settings, folder: Path) -> tuple[list[Service], dict[str, str]]:
    """The simulator and the model server, as far as they are wanted, and base URLs by provider."""
    services: list[Service] = []
    base_urls: dict[str, str] = {}
    simulated = _of_kind(settings, "simulator")
    if simulated:
        port = home.port("simulator")
        services.append(_simulator(home, simulated, port, folder))
        base_urls |= {name: f"http://127.0.0.1:{port}/{name}/v1" for name in simulated}
    local = _of_kind(settings, "local")
    if local:
        model = _model(home, settings, local)
        services.append(model)
        base_urls |= dict.fromkeys(local, f"http://127.0.0.1:{model.port}/v1")
    return services, base_urls


def _model(home: Home, settings: Settings, local: Mapping[str, ProviderSettings]) -> Service:
    served = [one for one in settings.deployments.values() if one.provider in local]
    return model_service(
        home,
        parallel=max((one.limits.in_flight or MODEL_PARALLEL for one in served), default=1),
        context=max((one.context or MODEL_CONTEXT for one in served), default=MODEL_CONTEXT),
    )


def _of_kind(settings: Settings, kind: str) -> dict[str, ProviderSettings]:
    return {
        name: provider
        for name, provider in settings.providers.items()
        if provider.kind == kind and not provider.base_url
    }


def _simulator(
    home: Home, simulated: Mapping[str, ProviderSettings], port: int, folder: Path
) -> Service:
    profiles = _profiles(simulated, folder)
    file = home.run / "simulator.json"
    write_private(file, json.dumps({"providers": profiles}))
    argv = [sys.executable, "-m", "providers.simulator", "--port", str(port)]
    return Service(
        name="simulator",
        argv=[*argv, "--profile", str(file)],
        env=plain_environment(os.environ) | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        cwd=home.run,
        ready=partial(_listens, port),
        port=port,
        metrics=port,
    )


def check_profiles(settings: Settings) -> None:
    """Raises ConfigError where a simulated provider's profile cannot be used."""
    _profiles(_of_kind(settings, "simulator"), Path())


def _profiles(
    simulated: Mapping[str, ProviderSettings], folder: Path
) -> dict[str, dict[str, object]]:
    """Profiles by provider, their key files found from `folder`."""
    profiles: dict[str, dict[str, object]] = {}
    for name, provider in simulated.items():
        key_file = load_profile(provider.profile, where=f"providers.{name}.profile").key_file
        found = {"key_file": str(folder / key_file)} if key_file else {}
        profiles[name] = {**provider.profile, **found}
    return profiles


def _listens(port: int, _pid: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


# The yard's own processes.


class _Saying:
    """Readiness of a process that says so in its log."""

    def __init__(self, log: Path, word: bytes) -> None:
        self._log = log
        self._word = word
        self._from = 0

    def prepare(self) -> None:
        self._from = self._log.stat().st_size if self._log.exists() else 0

    def ready(self, _pid: int) -> bool:
        if not self._log.exists():
            return False
        with self._log.open("rb") as file:
            # A log that grew too large was moved aside, and the new one is shorter.
            file.seek(self._from if self._log.stat().st_size >= self._from else 0)
            return self._word in file.read()


def _celery(base: _Base, name: str, *args: str, says: bytes, keys: bool = False) -> Service:
    saying = _Saying(base.home.log(name), says)
    return Service(
        name=name,
        argv=[sys.executable, "-m", "celery", "-A", "workers.app", "--quiet", *args],
        env=base.env(keys=keys),
        cwd=base.home.run,
        prepare=saying.prepare,
        ready=saying.ready,
        depends_on=("postgres", "valkey", "migrate"),
        grace_s=20.0,
    )


def _watched(base: _Base, service: Service) -> Service:
    """The service with a place for its `/metrics`."""
    port = base.home.port(f"metrics.{service.name}")
    where = metrics_address(base.settings.yard.metrics.host, port)
    return replace(service, env={**(service.env or {}), METRICS_VARIABLE: where}, metrics=port)


def _migrate(base: _Base) -> Service:
    return Service(
        name="migrate",
        argv=[sys.executable, "-m", "batchyard", "migrate"],
        env=base.env(),
        cwd=base.home.run,
        depends_on=("postgres",),
        restart=Restart.ONCE,
    )


def _worker(queues: list[str], threads: int, node: str) -> list[str]:
    head = ["worker", "-P", "threads", "-c", str(threads), "-E", "--loglevel=INFO"]
    # Workers have nothing to tell each other: what they share stands in Postgres.
    head += ["--without-mingle", "--without-gossip"]
    return [*head, "-Q", ",".join(queues), "-n", f"{node}@%h"]


def _control(base: _Base) -> Service:
    arguments = _worker(list(STEP_QUEUES), CONTROL_THREADS, "control")
    service = _celery(base, "worker-control", *arguments, says=YARD_OPEN.encode())
    return _watched(base, service)


def _callers(base: _Base, count: int, managed: list[str]) -> list[Service]:
    providers = list(base.settings.providers)
    # Twice: a lane that only waits for its last calls keeps its thread, the next one has begun.
    threads = min(MOST_CALL_THREADS, 2 * base.settings.yard.lanes * len(providers))
    queues = [provider_queue(name) for name in providers]
    services = []
    for number in range(1, count + 1):
        name = f"worker-call-{number}"
        arguments = _worker(queues, threads, f"call{number}")
        service = _celery(base, name, *arguments, says=YARD_OPEN.encode(), keys=True)
        needs = (*service.depends_on, *managed)
        services.append(_watched(base, replace(service, depends_on=needs, grace_s=30.0)))
    return services


def _beat(base: _Base) -> Service:
    schedule = str(base.home.run / "beat")
    arguments = ["beat", "-s", schedule, "--loglevel=INFO"]
    return _watched(base, _celery(base, "beat", *arguments, says=CLOCK_RUNS.encode()))


def _flower(base: _Base, port: int) -> Service:
    arguments = ["--address=127.0.0.1", f"--port={port}"]
    arguments += ["--max_tasks=20000", "--purge_offline_workers=300"]
    arguments.append("--tasks_columns=name,args,state,result,received,runtime,worker")
    service = _celery(base, "flower", "flower", *arguments, says=b"")
    # The environment, because a password on the command line is seen by every user.
    flower = {
        "FLOWER_BASIC_AUTH": f"{FLOWER_USER}:{base.home.secrets().flower}",
        "FLOWER_READ_ONLY": "true",
    }
    return replace(
        service,
        env={**flower, **(service.env or {})},
        prepare=None,
        ready=partial(_listens, port),
        port=port,
        metrics=port,
    )
