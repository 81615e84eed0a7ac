"""`batchyard audit`."""

from typing import Annotated

import typer
from rich.text import Text

from batchyard.cli.complete import ProjectOption, offer_jobs
from batchyard.cli.database import ask_project
from batchyard.cli.failure import FAILED
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.show import count, out, plain
from batchyard.embedded.home import Home
from core.ids import DEFAULT_PROJECT, job_name, job_number
from core.money import usd_text
from db.audit import AuditReport
from db.audit import audit as look_over


def audit(
    job: Annotated[
        str, typer.Argument(help="One job (default: all).", autocompletion=offer_jobs)
    ] = "",
    *,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Recompute every count and every cent from the raw rows, and compare: every request has
    one result or one place, every attempt stands in the ledger, and the ledger adds up. It may
    run at any time. Exit code 1 when something does not hold.

    \b
    Examples:
      batchyard audit
      batchyard audit job_12
      batchyard audit --json
    """
    number = job_number(job) if job else None
    report = ask_project(Home.from_env(), project, lambda conn, id_: look_over(conn, id_, number))
    if as_json:
        put_json(_told(report))
    else:
        _show(report)
    if not report.ok:
        raise typer.Exit(FAILED)


def _told(report: AuditReport) -> dict[str, object]:
    return {
        "ok": report.ok,
        "jobs": report.jobs,
        "facts": dict(_fact(name, value) for name, value in report.facts.items()),
        "violations": [
            {
                "law": one.law,
                "job": job_name(one.job_id) if one.job_id is not None else None,
                "detail": one.detail,
                "sample": list(one.sample),
            }
            for one in report.violations
        ],
    }


def _fact(name: str, value: int) -> tuple[str, object]:
    """Money as everywhere: decimal strings of dollars."""
    if name.endswith("_nusd"):
        return f"{name.removesuffix('_nusd')}_usd", usd_text(value)
    return name, value


def _show(report: AuditReport) -> None:
    console = out()
    facts = report.facts
    counted = [count(report.jobs, "job")]
    counted += [count(facts[f"{name}s"], name) for name in ROWS if facts.get(f"{name}s")]
    counted += [f"{plain(facts[name])} {name}" for name in COUNTED if facts.get(name)]
    spent = usd_text(facts.get("spent_nusd", 0))
    console.print(f"{', '.join(counted)}; ${spent} spent")
    if above := facts.get("above_bound"):
        unbooked = usd_text(facts["unbooked_nusd"])
        told = f"{count(above, 'call')} reported above the bound, ${unbooked} of it not booked"
        console.print(f"[yellow]{told}[/]")
    if report.ok:
        fine = " every request has its one result or place, and the ledger adds up"
        console.print(Text.assemble(("✓", "green"), fine))
    for one in report.violations:
        where = f"{job_name(one.job_id)}: " if one.job_id is not None else ""
        console.print(Text.assemble(("✗ ", "red"), where, one.detail), soft_wrap=True)
        for sample in one.sample:
            console.print(Text(f"    {sample}", style="dim"), soft_wrap=True)


ROWS = ("request", "attempt")
COUNTED = ("completed", "failed", "open", "unknown", "late", "unpriced")
