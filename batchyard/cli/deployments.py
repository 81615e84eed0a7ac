"""`batchyard deployments`, and `pause`, `resume` and `drain` below it."""

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import typer

from batchyard.cli.complete import Offer
from batchyard.cli.database import ask
from batchyard.cli.lazy import new_app
from batchyard.cli.lines import lines, why
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.places import settings_path
from batchyard.cli.show import notes, out, plain, table
from batchyard.embedded.home import Home
from core.errors import BatchyardError, NotFoundError
from core.settings import Settings
from core.status import DeploymentStatus
from core.strict import suggest
from db.connect import Connection
from db.health import drain as drain_lines
from db.health import pause as pause_lines
from db.health import resume as resume_lines
from db.overview import overview
from providers.configuration import load_settings

COLUMNS = {
    "DEPLOYMENT": "deployment",
    "PROVIDER": "provider",
    "MODEL": "model",
    "KEY": "key",
    "STATE": "state",
    ">BACKLOG": "backlog",
    ">BOUND": "bound",
    ">IN FLIGHT": "in_flight",
    ">ANSWERED": "answered",
    ">FAILED": "failed",
    ">CALLS/S": "rate",
    ">MS": "latency_ms",
}

app = new_app()

Closing = Callable[[Connection, Sequence[str]], Awaitable[None]]


def _settings() -> Settings:
    return load_settings(settings_path(Home.from_env(), None), os.environ)


def _offer(incomplete: str) -> Offer:
    """Deployments, and the lines of those that have several."""
    try:
        settings = _settings()
    except BatchyardError:
        return []
    names = [
        (name, one.model)
        for deployment, one in settings.deployments.items()
        for name in dict.fromkeys((deployment, *settings.lines(deployment)))
    ]
    return [pair for pair in names if pair[0].startswith(incomplete)]


Name = Annotated[
    str,
    typer.Argument(
        help="A deployment with all its lines, or one line, such as mini#2.",
        metavar="NAME",
        autocompletion=_offer,
    ),
]


@app.callback(invoke_without_command=True, no_args_is_help=False)
def deployments(context: typer.Context, *, as_json: JsonFlag = False) -> None:
    """Show every deployment, one row for each of its keys: how it stands and why, what waits
    for it, and how its calls went since the present workers began. States:

    \b
      open       gets work
      cooling    closed by itself for a time: it failed, is out of quota, or asked for a pause
      probing    cooling is over; a few calls are tried, the first answer opens it
      disabled   its key was refused, or its model is gone; replace it, then `resume`
      paused     nothing is sent until `resume`; bound work goes to others
      drained    what is bound is still sent, nothing new is bound until `resume`; where it fails
                 at that, the rest goes to others

    \b
    Examples:
      batchyard deployments
      batchyard deployments pause small
      batchyard deployments resume small#2 --json
    """
    if context.invoked_subcommand is not None:
        return
    settings = _settings()
    found = lines(settings, ask(Home.from_env(), overview))
    if as_json:
        put_json({"deployments": found})
        return
    rows = [[*(_cell(line[key]) for key in COLUMNS.values()), why(line)] for line in found]
    out().print(table([*COLUMNS, "WHY"], rows))


@app.command()
def pause(name: Name, *, as_json: JsonFlag = False) -> None:
    """Send nothing to a deployment from now on. What is bound to it goes to other candidates
    or waits; calls in flight end by themselves.

    \b
    Examples:
      batchyard deployments pause small
      batchyard deployments pause small#2 --json
    """
    _close(name, DeploymentStatus.PAUSED, pause_lines, as_json=as_json)


@app.command()
def drain(name: Name, *, as_json: JsonFlag = False) -> None:
    """Bind nothing new to a deployment; what is bound to it is still sent.

    \b
    Examples:
      batchyard deployments drain small
      batchyard deployments drain small#2 --json
    """
    _close(name, DeploymentStatus.DRAINED, drain_lines, as_json=as_json)


@app.command()
def resume(name: Name, *, as_json: JsonFlag = False) -> None:
    """Open a deployment, whatever closed it: an operator, a refused key, failures, a quota, a
    pause that its provider asked for.
    A key in a file is read again by itself; after a change of the environment, restart the
    workers first.

    \b
    Examples:
      batchyard deployments resume small
      batchyard deployments resume small#2 --json
    """
    named = _named(name)
    opened = ask(Home.from_env(), lambda conn: resume_lines(conn, named))
    if as_json:
        put_json({"deployments": named, "state": DeploymentStatus.OPEN, "opened": opened})
    elif opened:
        notes().print(f"{', '.join(sorted(opened))}: open")
    else:
        notes().print(f"{', '.join(named)}: was open already")


def _close(name: str, status: DeploymentStatus, closing: Closing, *, as_json: bool) -> None:
    named = _named(name)
    ask(Home.from_env(), lambda conn: closing(conn, named))
    if as_json:
        put_json({"deployments": named, "state": status})
    else:
        notes().print(f"{', '.join(named)}: {status}")


def _named(name: str) -> list[str]:
    """The lines that a name means. Raises NotFoundError with the nearest name."""
    settings = _settings()
    if name in settings.deployments:
        return [*settings.lines(name)]
    known = [line for one in settings.deployments for line in settings.lines(one)]
    if name in known:
        return [name]
    hint = suggest(name, {*settings.deployments, *known})
    raise NotFoundError(f"There is no deployment {name!r}. {hint}")


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return plain(value)
    return "-" if value is None else str(value)
