"""`batchyard simulator`."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.show import out
from batchyard.embedded.ports import free_port
from providers.simulator.profile import Profile, load_profiles
from providers.simulator.run import run_simulator


def simulator(
    *,
    profile: Annotated[
        Path | None,
        typer.Option("-f", "--profile", exists=True, dir_okay=False, help="YAML or JSON file."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 9000,
    check: Annotated[bool, typer.Option("--check", help="Only check the profile.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run a simulated provider until Ctrl-C: OpenAI's wire format, true limits, seeded latency
    and faults, answers from a key file. It counts what it billed under /stats.

    \b
    Examples:
      batchyard simulator
      batchyard simulator --profile flaky.yaml --port 9001
      curl http://127.0.0.1:9000/stats

    \b
    A profile:
      seed: 7
      latency: {kind: lognormal, ms: 120}
      limits: {rpm: 6000, in_flight: 400}
      faults: {p_429: 0.1, p_reset: 0.02}
      models: {mini: {accuracy: 0.93, price: {input_per_mtok: 0.25, output_per_mtok: 2}}}
    """
    profiles = load_profiles(profile) if profile else {"": Profile()}
    if check:
        models = {name or "default": sorted(one.models) for name, one in profiles.items()}
        _say_checked(models, as_json=as_json)
    elif as_json:
        chosen = port or free_port()
        put_json({name or "default": _url(host, chosen, name) for name in profiles})
        sys.stdout.flush()
        with redirect_stdout(sys.stderr):
            run_simulator(profiles, host, chosen)
    else:
        run_simulator(profiles, host, port)


def _say_checked(models: dict[str, list[str]], *, as_json: bool) -> None:
    if as_json:
        put_json({"models": models})
        return
    for name, served in models.items():
        out().print(f"{name}: fine; serves {', '.join(served)}")


def _url(host: str, port: int, name: str) -> str:
    return f"http://{host}:{port}/{name}/v1" if name else f"http://{host}:{port}/v1"
