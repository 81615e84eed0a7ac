"""`batchyard config show` and `batchyard config check`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from batchyard.checks import check_keys
from batchyard.cli.lazy import new_app
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.places import ConfigOption, settings_path
from batchyard.cli.show import count, out, warn_of
from batchyard.embedded.home import Home
from batchyard.services import check_profiles
from core.settings import Settings
from providers.configuration import load_settings
from routing.targets import DEFAULT_ROUTE

NO_DEFAULT = (
    f"no route is named {DEFAULT_ROUTE}: a submit has to name a route (--route), or each of its "
    "requests a model"
)

app = new_app()


@app.callback()
def config() -> None:
    """Look at the configuration: what is in force, or whether a file is right.

    \b
    Examples:
      batchyard config show
      batchyard config check lab.yaml
    """


@app.command()
def show(*, config: ConfigOption = None, as_json: JsonFlag = False) -> None:
    """Show the whole configuration in force, defaults included: of the file named, else of
    the running yard, else what `up` would use. Keys appear as references only.

    \b
    Examples:
      batchyard config show
      batchyard config show --config lab.yaml --json
    """
    settings = load_settings(settings_path(Home.from_env(), config), os.environ)
    told = {"digest": settings.digest(), **_tree(settings)}
    if as_json:
        put_json(told)
    else:
        out().print(yaml.safe_dump(told, sort_keys=False), end="", soft_wrap=True)


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="The file (default: as `up`).")] = None,
    *,
    as_json: JsonFlag = False,
) -> None:
    """Check a configuration without starting anything. A wrong one ends with exit code 2, the
    path in the file and the fix. A key that is not to be found here is only a warning, for it has
    to be there where the workers start; so is a missing default route.

    \b
    Examples:
      batchyard config check
      batchyard config check lab.yaml
    """
    settings = load_settings(file, os.environ)
    check_profiles(settings)
    warnings = [f"{one.name}: {one.fix}" for one in check_keys(settings) if not one.ok]
    if DEFAULT_ROUTE not in settings.routes:
        warnings.append(NO_DEFAULT)
    found = {
        "providers": len(settings.providers),
        "deployments": len(settings.deployments),
        "routes": len(settings.routes),
    }
    if as_json:
        put_json({"ok": True, "digest": settings.digest(), **found, "warnings": warnings})
        return
    listed = ", ".join(count(number, what.removesuffix("s")) for what, number in found.items())
    out().print(f"fine: {listed}")
    for warning in warnings:
        warn_of(warning)


def _tree(settings: Settings) -> dict[str, Any]:
    """The settings as plain data, without what was left open."""
    return settings.model_dump(mode="json", exclude_none=True)
