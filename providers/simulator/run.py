"""Runs a simulator in the foreground until it is told to stop."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from core.errors import BatchyardError
from providers.simulator.profile import Profile, load_profiles
from providers.simulator.server import serve

if sys.platform == "win32":
    _new_loop = None
else:
    import uvloop

    _new_loop = uvloop.new_event_loop


def run_simulator(
    profiles: Mapping[str, Profile],
    host: str = "127.0.0.1",
    port: int = 0,
    port_file: Path | None = None,
) -> None:
    """Serves `profiles` until SIGTERM or SIGINT, from the main thread of a process.

    Prints one line per provider with its base URL. `port_file`, where given, holds the chosen
    port while the simulator is up; it appears whole, once connections are accepted, and goes
    on a clean end. Raises ConfigError and ServiceError as `serve` does.
    """
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_until_told(profiles, host, port, port_file))


async def _until_told(
    profiles: Mapping[str, Profile], host: str, port: int, port_file: Path | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    server = await serve(profiles, host, port)
    try:
        for name in profiles:
            sys.stdout.write(f"simulated provider {name or '(unnamed)'}: {server.url(name)}\n")
        sys.stdout.flush()
        if port_file is not None:
            _write_whole(port_file, f"{server.port}\n")
        await stop.wait()
    finally:
        await server.close()
        if port_file is not None:
            _remove(port_file)


def _write_whole(path: Path, text: str) -> None:
    """Writes so that a reader sees nothing or everything."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to bind")
    parser.add_argument("--port", type=int, default=9000, help="0 takes a free port")
    parser.add_argument("--profile", type=Path, help="YAML or JSON file of one or more profiles")
    parser.add_argument("--port-file", type=Path, help="write the chosen port to this file")
    given = parser.parse_args(argv)
    try:
        profiles = load_profiles(given.profile) if given.profile else {"": Profile()}
        run_simulator(profiles, given.host, given.port, given.port_file)
    except BatchyardError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0
