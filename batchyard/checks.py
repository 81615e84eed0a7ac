"""Is everything there that a job needs? Each check says what it found and how to mend it."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from psycopg import AsyncConnection
from psycopg import Connection as Postgres
from psycopg import Error as PostgresError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from batchyard.embedded.home import Home
from batchyard.embedded.space import free, shortage
from batchyard.environment import outside
from core.deployment import Deployment
from core.errors import ConfigError, ServiceError
from core.settings import Settings
from core.status import DeploymentStatus
from db.overview import Overview, overview
from db.waits import remedy
from providers.secrets import resolve_secret
from providers.watch import look
from workers.address import place_of

PATIENCE_S = 5.0
AMQP_PORT = 5672


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `fix` is empty where all is well; `service` says that something a job
    needs could not be reached."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    service: bool = False


async def check_postgres(url: str) -> tuple[Check, Overview | None]:
    """Postgres answers, and has our schema."""
    try:
        connection = await AsyncConnection.connect(url, autocommit=True, connect_timeout=5)
    except PostgresError as error:
        fix = "Start the yard with `batchyard up -d`, or check BATCHYARD_DATABASE_URL"
        return Check("postgres", False, _first_line(error), fix, service=True), None
    async with connection:
        number = connection.info.server_version
        version = f"version {number // 10_000}.{number % 10_000}"
        try:
            seen = await overview(connection)
        except PostgresError as error:
            fix = "Bring the database up to date with `batchyard migrate`"
            return Check("postgres", False, f"{version}; {_first_line(error)}", fix), None
    return Check("postgres", True, version), seen


def check_broker(url: str) -> Check:
    """The broker is there; one that speaks Redis lets us in and tells its version."""
    fix = "Start the yard with `batchyard up -d`, or check BATCHYARD_BROKER_URL"
    where = urlsplit(url)
    try:
        if where.scheme in ("redis", "rediss", "unix"):
            return Check("broker", True, _redis_version(url))
        address = (where.hostname or "127.0.0.1", where.port or AMQP_PORT)
        socket.create_connection(address, PATIENCE_S).close()
    except (RedisError, OSError) as error:
        return Check("broker", False, _first_line(error), fix, service=True)
    return Check("broker", True, f"{where.scheme} listens at {address[0]}:{address[1]}")


def require_outside(environ: Mapping[str, str]) -> None:
    """The servers that the environment names, if any, are there: the yard's processes would wait
    for them for ever. Raises ServiceError, and ConfigError for an address that is none.
    """
    database, broker, limiter = outside(environ)
    for what, url in (("broker", broker), ("limiter", limiter)):
        found = check_broker(url) if url else None
        if found is not None and not found.ok:
            variable = f"BATCHYARD_{what.upper()}_URL"
            raise ServiceError(_away(what, place_of(url), found.detail, variable))
    if database:
        try:
            Postgres.connect(database, connect_timeout=int(PATIENCE_S)).close()
        except PostgresError as error:
            detail = _first_line(error)
            raise ServiceError(
                _away("Postgres", place_of(database), detail, "BATCHYARD_DATABASE_URL")
            ) from error


def _away(what: str, place: str, detail: str, variable: str) -> str:
    return (
        f"{what} at {place} does not answer ({detail.rstrip('.')}). Start it, or check {variable}"
    )


def _redis_version(url: str) -> str:
    with Redis.from_url(
        url,
        socket_connect_timeout=PATIENCE_S,
        socket_timeout=PATIENCE_S,
        retry=Retry(NoBackoff(), 0),
    ) as one:
        told = one.info("server")
    if "valkey_version" in told:
        return f"Valkey {told['valkey_version']}"
    return f"Redis {told['redis_version']}"


def check_space(home: Home) -> Check:
    """The state folder has room for what Postgres and the broker write."""
    lacking = shortage(home.path)
    detail = f"{free(home.path) // 2**20:,} MB free"
    return Check("disk", not lacking, lacking or detail, service=bool(lacking))


def check_workers(seen: Overview) -> Check:
    """Processes of both kinds hold a lease: those that prepare work and those that call."""
    holders = [worker for worker in seen.workers if worker.lease > 0]
    alive = [worker.kind.partition("@")[0] for worker in holders]
    if not alive:
        fix = "Start them with `batchyard up -d`"
        return Check("workers", False, "no worker holds a lease", fix, service=True)
    if not any(worker.controls for worker in holders):
        text = f"no control worker holds a lease, only {', '.join(sorted(alive))}"
        fix = "Start one, or look at its log: batchyard logs worker-control"
        return Check("workers", False, text, fix, service=True)
    return Check("workers", True, f"{len(alive)} with a lease: {', '.join(sorted(alive))}")


def check_queues(settings: Settings, seen: Overview) -> list[Check]:
    """For each provider: work that may be sent has lanes, or at least tickets for lanes."""
    shut = {one.deployment for one in seen.deployments if not one.condition.sends}
    found = []
    for provider in settings.providers:
        mine = [name for name, one in settings.deployments.items() if one.provider == provider]
        lines = {line for name in mine for line in settings.lines(name)}
        bound = [b for b in seen.backlog if b.deployment in lines and b.status == "ready"]
        tickets = seen.tickets.get((provider, "queued"), 0)
        lanes = seen.tickets.get((provider, "running"), 0)
        age = max((b.age for b in bound if b.deployment not in shut), default=0.0)
        detail = f"{sum(b.requests for b in bound)} bound, {tickets} tickets, {lanes} lanes"
        stuck = age > settings.yard.lease * 2 and not lanes
        fix = (
            f"No worker takes from provider.{provider}: is one started with -Q provider.{provider}?"
        )
        found.append(Check(f"queue provider.{provider}", not stuck, detail, fix if stuck else ""))
    return found


def check_closed(settings: Settings, seen: Overview) -> list[Check]:
    """No deployment is closed, by itself or by an operator."""
    known = {line for name in settings.deployments for line in settings.lines(name)}
    found = []
    for one in seen.deployments:
        standing = one.condition
        if standing.shown is DeploymentStatus.OPEN or one.deployment not in known:
            continue
        fix = remedy(one.deployment, standing)
        if not fix:
            fix = f"`batchyard deployments resume {one.deployment}` opens it now"
        if one.left is not None:
            fix = f"It is tried again in {max(0.0, one.left):.0f} s; {fix}"
        found.append(Check(f"state of {one.deployment}", False, standing.told, fix))
    return found


def check_keys(settings: Settings) -> list[Check]:
    """Every provider's key can be found by its reference, here at least."""
    found = []
    for name, provider in settings.providers.items():
        for number, reference in enumerate(provider.references, 1):
            several = len(provider.references) > 1
            found.append(
                _check_key(f"key {number} of {name}" if several else f"key of {name}", reference)
            )
    return found


def _check_key(name: str, reference: str) -> Check:
    try:
        resolve_secret(reference)
    except ConfigError as error:
        return Check(name, False, f"{reference}: not found", str(error))
    return Check(name, True, f"{reference} is set")


async def check_deployments(deployments: Mapping[str, Deployment]) -> list[Check]:
    """Whether something answers at each deployment's address. No key is sent: any answer
    below 500 counts, a 401 too."""
    urls = sorted({one.base_url for one in deployments.values()})
    answers = await asyncio.gather(*(asyncio.to_thread(look, f"{url}/models") for url in urls))
    by_url = dict(zip(urls, answers, strict=True))
    found = []
    for name, deployment in deployments.items():
        ok, detail = by_url[deployment.base_url]
        fix = "" if ok else f"Is the server up? Check providers.{deployment.provider}.base_url"
        detail = f"{deployment.model} at {deployment.base_url}: {detail}"
        found.append(Check(f"deployment {name}", ok, detail, fix, service=not ok))
    return found


def check_flower(url: str) -> Check:
    """Flower listens."""
    where = urlsplit(url)
    try:
        socket.create_connection((where.hostname or "", where.port or 80), PATIENCE_S).close()
    except OSError as error:
        fix = "Look at logs/flower.log in the state folder"
        return Check("flower", False, _first_line(error), fix)
    return Check("flower", True, url)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
