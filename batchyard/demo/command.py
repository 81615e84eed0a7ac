"""The command `batchyard demo`."""

import sys
from typing import Annotated

import msgspec
import typer

from batchyard.demo.run import run_demo
from batchyard.demo.show import Screen, new_console
from batchyard.embedded.home import Home


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the yard running.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for scripts, on stdout.")] = False,
) -> None:
    """Label 385 real messages: on three simulated clouds that throttle and fail, and 30 of them
    on a real small model on this machine too. Shows the answers' accuracy, what they cost, and
    what it took to get them. It runs in a yard of its own, in the folder `demo` of the state
    folder, in about a minute.

    Exit code 1 when a request has no answer or the audit finds something.

    \b
    Examples:
      batchyard demo
      batchyard demo --keep        then look around with Flower
      batchyard demo --json
    """
    report = run_demo(Home.from_env(), Screen(new_console(stderr=as_json)), keep=keep)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    if not report.ok:
        raise typer.Exit(1)
