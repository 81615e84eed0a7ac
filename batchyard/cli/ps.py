"""`batchyard ps`."""

import os
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from batchyard.cli.database import ask
from batchyard.cli.limits import COLUMNS, as_row, limits_in_use
from batchyard.cli.lines import counts, lines, why
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.places import ConfigOption, relative, settings_path
from batchyard.cli.show import ago, count, out, plain, table
from batchyard.embedded.detached import cpu_seconds
from batchyard.embedded.home import SUPERVISOR, Home, ServiceRecord, YardRecord
from core.settings import Settings, configured_name
from db.overview import Overview, Worker, overview
from providers.configuration import load_settings

# Headings by what is below them; ">" marks a column of numbers.
SERVICES = {
    "SERVICE": "name",
    "STATE": "state",
    ">PID": "pid",
    ">PORT": "port",
    ">METRICS": "metrics",
    ">RESTARTS": "restarts",
    ">CPU S": "cpu_s",
}
QUEUES = {
    "QUEUE": "queue",
    ">TICKETS": "tickets_queued",
    ">LANES": "tickets_running",
    ">BACKLOG": "backlog",
    ">BOUND": "bound",
    ">WAITING": "waiting",
    ">LEASED": "leased",
    ">OLDEST S": "oldest_s",
}
DEPLOYMENTS = {
    "DEPLOYMENT": "deployment",
    "PROVIDER": "provider",
    "MODEL": "model",
    "STATE": "state",
    ">BACKLOG": "backlog",
    ">BOUND": "bound",
    "WHY": "reason",
}
WORKERS = {"WORKER": "name", ">PID": "pid", ">LEASE": "lease", ">UP": "up", ">LEASED": "leased"}


def ps(*, config: ConfigOption = None, as_json: JsonFlag = False) -> None:
    """Show the yard as it stands: its services, each provider's queue with its backlog (not
    yet dispatched), what is bound (dispatched, waiting for a lane) and how old the oldest of it
    is, the state of each deployment, how full the limits are (rates in force, and what is left
    of a second's worth), and the workers with their leases.

    \b
    Examples:
      batchyard ps
      batchyard ps --json
      watch -n 2 batchyard ps
    """
    home = Home.from_env()
    seen = ask(home, overview)
    settings = load_settings(settings_path(home, config), os.environ)
    running = home.running()
    told = {
        "home": str(home.path),
        "state": running.state if running else "elsewhere",
        "active_jobs": seen.active_jobs,
        "unrouted": seen.unrouted,
        "services": _services(home, running),
        "queues": _queues(settings, seen),
        "deployments": lines(settings, seen),
        "limits": limits_in_use(home, settings),
        "workers": [_worker(worker) for worker in seen.workers],
    }
    if as_json:
        put_json(told)
    else:
        _show(out(), home, told)


def _services(home: Home, running: YardRecord | None) -> list[dict[str, Any]]:
    if running is None:
        return []
    cpu = cpu_seconds(home)
    supervisor = {
        "name": SUPERVISOR,
        "state": running.state,
        "pid": running.supervisor_pid,
        "port": None,
        "metrics": running.supervisor_metrics,
        "restarts": 0,
        "cpu_s": round(cpu[SUPERVISOR], 2),
    }
    return [
        supervisor,
        *(_service(one, cpu.get(one.name, 0.0)) for one in running.services),
    ]


def _service(one: ServiceRecord, cpu_s: float) -> dict[str, Any]:
    return {
        "name": one.name,
        "state": one.state,
        "pid": one.pid,
        "port": one.port,
        "metrics": one.metrics,
        "restarts": one.restarts,
        "cpu_s": round(cpu_s, 2),
    }


def _queues(settings: Settings, seen: Overview) -> list[dict[str, Any]]:
    return [
        {
            "queue": f"provider.{name}",
            "provider": name,
            "tickets_queued": seen.tickets.get((name, "queued"), 0),
            "tickets_running": seen.tickets.get((name, "running"), 0),
            **counts(
                [one for one in seen.backlog if _provider_of(settings, one.deployment) == name]
            ),
        }
        for name in settings.providers
    ]


def _worker(worker: Worker) -> dict[str, Any]:
    fields = asdict(worker)
    return {"name": fields.pop("kind"), **fields}


def _provider_of(settings: Settings, deployment: str) -> str:
    known = settings.deployments.get(configured_name(deployment))
    return known.provider if known else ""


def _show(console: Console, home: Home, told: dict[str, Any]) -> None:
    console.print(
        f"yard {told['state']} in {relative(home.path)}, "
        f"{count(told['active_jobs'], 'active job')}, "
        f"{count(told['unrouted'], 'request')} to be routed\n"
    )
    if told["services"]:
        _list(console, SERVICES, told["services"])
    _list(console, QUEUES, told["queues"])
    standing = [line | {"reason": why(line)} for line in told["deployments"]]
    _list(console, DEPLOYMENTS, standing)
    if told["limits"]:
        _list(console, COLUMNS, [as_row(one) for one in told["limits"]])
    workers = [
        one | {"lease": _lease(one["lease"]), "up": ago(one["up"])} for one in told["workers"]
    ]
    _list(console, WORKERS, workers)


def _list(console: Console, columns: dict[str, str], items: list[dict[str, Any]]) -> None:
    rows = [[_cell(item[key]) for key in columns.values()] for item in items]
    console.print(table(columns, rows), "")


def _cell(value: Any) -> str | Text:
    if isinstance(value, Text):
        return value
    if value is None:
        return "-"
    return plain(value) if isinstance(value, int) and value > 99_999 else str(value)


def _lease(left: float) -> Text:
    return Text(f"{left:.0f} s") if left > 0 else Text("ran out", "red")
