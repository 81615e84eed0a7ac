"""`batchyard demo`."""

from typing import Annotated

import msgspec
import typer

from batchyard.cli.failure import FAILED
from batchyard.cli.output import JsonFlag, put_json
from batchyard.demo.run import run_demo
from batchyard.demo.show import Screen, new_console
from batchyard.embedded.home import Home


def demo(
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the demo's yard running, to look around.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Label a few hundred real messages: a yard of its own, simulated clouds that throttle and
    fail, a small real model on this machine; then what it cost, how good it was, and the
    audit's verdict. Then some of them again by the router, beside the best cloud alone. It says
    what is real and what is simulated. Exit code 1 when a request has no answer or the audit
    finds something.

    It lives in the folder `demo` of the state folder, and stops its yard at the end.

    \b
    Examples:
      batchyard demo
      batchyard demo --keep
      batchyard demo --json 2>/dev/null | jq .cost_usd
    """
    screen = Screen(new_console(stderr=as_json))
    report = run_demo(Home.from_env(), screen, keep=keep)
    if as_json:
        put_json({"ok": report.ok, **msgspec.to_builtins(report)})
    if not report.ok:
        raise typer.Exit(FAILED)
