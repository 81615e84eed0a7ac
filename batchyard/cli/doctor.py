"""`batchyard doctor`."""

import asyncio
import os
from dataclasses import asdict
from pathlib import Path

import typer
from rich.text import Text

from batchyard import checks
from batchyard.checks import Check
from batchyard.cli.failure import FAILED, UNREACHABLE, USAGE
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.places import ConfigOption, relative, settings_path
from batchyard.cli.show import count, out
from batchyard.embedded.home import Home, State, YardRecord
from batchyard.environment import outside
from batchyard.files import base_urls
from core.errors import ConfigError
from core.settings import Settings
from providers.catalog import resolve_deployments
from providers.configuration import load_settings

CONFIGURATION = "configuration"
OUTSIDE = ("BATCHYARD_DATABASE_URL", "BATCHYARD_BROKER_URL")
SETTLED = (State.READY, State.DONE)
# Stands for the address of a provider that the yard will run itself, and does not run now.
NOWHERE = "http://127.0.0.1:1/v1"


def doctor(*, config: ConfigOption = None, as_json: JsonFlag = False) -> None:
    """Check that everything is there that a job needs: the configuration, the keys it refers
    to, Postgres and the broker, workers, queues, Flower, and that something answers at each
    deployment's address (no key is sent there, and nothing is spent).

    Exit code 0 when all is well, 2 where the configuration is wrong, 3 where a service cannot
    be reached, 1 for anything else.

    \b
    Examples:
      batchyard doctor
      batchyard doctor --config new.yaml
      batchyard doctor --json
    """
    home = Home.from_env()
    found = asyncio.run(_examine(home, config))
    if as_json:
        put_json({"ok": all(one.ok for one in found), "checks": [asdict(one) for one in found]})
    else:
        _show(found)
    code = _code(found)
    if code:
        raise typer.Exit(code)


async def _examine(home: Home, config: Path | None) -> list[Check]:
    try:
        settings = load_settings(settings_path(home, config), os.environ)
    except ConfigError as error:
        return [Check(CONFIGURATION, False, str(error), "Mend the file, then ask again")]
    sizes = count(len(settings.deployments), "deployment"), count(len(settings.routes), "route")
    detail = ", ".join(sizes)
    found = [Check(CONFIGURATION, True, detail), *checks.check_keys(settings)]
    found += await _services(home, settings)
    managed = base_urls(home) if home.running() else {}
    known = {**dict.fromkeys(settings.providers, NOWHERE), **managed}
    deployments = resolve_deployments(settings, known)
    return found + await checks.check_deployments(
        {name: one for name, one in deployments.items() if one.base_url != NOWHERE}
    )


async def _services(home: Home, settings: Settings) -> list[Check]:
    running = home.running()
    found = [_yard(home, running)]
    if running is not None:
        found.append(checks.check_space(home))
    try:
        database, broker, _ = outside(os.environ)
    except ConfigError as error:
        return [*found, Check(CONFIGURATION, False, str(error), "Mend it, then ask again")]
    database = database or (running.database_url if running else "")
    broker = broker or (running.broker_url if running else "")
    if database:
        postgres, seen = await checks.check_postgres(database)
        found.append(postgres)
        if seen is not None:
            found += [checks.check_workers(seen), *checks.check_queues(settings, seen)]
            found += checks.check_closed(settings, seen)
    if broker:
        found.append(checks.check_broker(broker))
    if running is not None and running.flower_url:
        found.append(checks.check_flower(running.flower_url))
    return found


def _yard(home: Home, running: YardRecord | None) -> Check:
    if running is None:
        outside = all(os.environ.get(name) for name in OUTSIDE)
        detail = f"no supervisor in {relative(home.path)}"
        if outside:
            return Check("yard", True, f"{detail}; outside services are used")
        return Check("yard", False, detail, "Start it with `batchyard up -d`", service=True)
    bad = [f"{one.name} {one.state}" for one in running.services if one.state not in SETTLED]
    if bad:
        fix = f"Look at the logs in {relative(home.logs)}"
        return Check("yard", False, f"{running.state}: {', '.join(bad)}", fix)
    return Check("yard", True, f"{running.state}, {len(running.services)} services")


def _show(found: list[Check]) -> None:
    console = out()
    for one in found:
        mark = ("✓", "green") if one.ok else ("✗", "red")
        console.print(Text.assemble(mark, f" {one.name:<22} {one.detail}"), soft_wrap=True)
        if one.fix:
            console.print(f"  {'':<22} {one.fix}", soft_wrap=True)


def _code(found: list[Check]) -> int:
    bad = [one for one in found if not one.ok]
    if not bad:
        return 0
    if any(one.name == CONFIGURATION for one in bad):
        return USAGE
    return UNREACHABLE if any(one.service for one in bad) else FAILED
