"""The demo on a terminal, or as plain lines where there is none."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from batchyard.demo.deskview import DESK, WAYS, desk_told, ways_row
from batchyard.demo.plan import BUDGET, CLOUDS, LOCAL, Material
from batchyard.demo.report import Desk, Report, Row
from batchyard.embedded.home import State, YardRecord
from core.money import usd_text
from db.jobs import JobView

WIDE = 160
LINE_EVERY_S = 5.0
Show = Callable[[JobView], None]


def new_console(*, stderr: bool = False) -> Console:
    """Colours only on a terminal; nothing cut where there is none."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else WIDE)


class Screen:
    """Says what happens, as it happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: set[str] = set()

    def _print(self, text: str = "") -> None:
        self._console.print(text, soft_wrap=True)

    def opening(self, material: Material, missing: str) -> None:
        """What is real and what is not."""
        count = len(material.messages)
        model = "; SmolLM2-135M by llama.cpp on this machine" if not missing else ""
        self._print(f"[bold]Labelling {count} messages of a bank's customers[/]\n")
        self._print(f"[green]real[/]       Postgres, Valkey, Celery workers, Flower{model}")
        self._print("           routing, rate limits, retries, fallbacks, budget, ledger, audit")
        self._print(
            f"           the messages and their {len(material.labels)} topics: BANKING77 by "
            "PolyAI, CC BY 4.0 (examples/banking77)"
        )
        self._print(
            "[yellow]simulated[/]  three clouds over real HTTP, one of them down for a while:"
        )
        for name, cloud in CLOUDS.items():
            price = f"${cloud.price[0]} / ${cloud.price[1]} per Mtok"
            self._print(
                f"           {name:<8} {cloud.accuracy:.0%} right by design, {price}: {cloud.what}"
            )
        if missing:
            self._print(f"[yellow]left out[/]   the local model: {escape(missing)}")
        self._print()

    def starting(self, record: YardRecord | None) -> None:
        """Each service once, when it has come up."""
        for service in record.services if record is not None else ():
            if service.state in (State.READY, State.DONE) and service.name not in self._seen:
                self._seen.add(service.name)
                self._print(f"  [green]✓[/] {service.name}")

    def started(self, record: YardRecord, seconds: float, *, found_running: bool) -> None:
        """That the yard is up."""
        self.starting(record)
        how = "runs already" if found_running else f"is up after {seconds:.1f} s"
        self._print(f"the yard {how}; Flower is at {record.flower_url}\n")

    def stopping(self) -> None:
        """That it goes down again."""
        self._print("stopping the yard …")

    @contextmanager
    def watching(self, job: str) -> Iterator[Show]:
        """Shows the job until the block ends."""
        if not self._console.is_terminal:
            yield self._line_by_line(job)
            return
        with Live(console=self._console, auto_refresh=False) as live:
            yield lambda view: live.update(_panel(job, view), refresh=True)

    def _line_by_line(self, job: str) -> Show:
        last = 0.0

        def show(view: JobView) -> None:
            nonlocal last
            if view.ended_at is None and time.monotonic() - last < LINE_EVERY_S:
                return
            last = time.monotonic()
            self._print(f"  {job}  {_progress(view)}  {_shares(view)}")

        return show

    def report(self, report: Report) -> None:
        """What came of it."""
        self._print()
        self._console.print(_table(WORK, map(_work, report.rows)))
        self._print()
        self._console.print(_table(WORTH, map(_worth, report.rows)))
        self._print()
        for line in _summary(report):
            self._print(line)
        self._print()

    def desk_opening(self, mine: int, strange: int) -> None:
        """What the second part is about."""
        count = f"{mine} of these messages, and {strange} that are no business of a bank"
        self._print(f"[bold]The router: {count}[/]\n")
        for line in DESK:
            self._print(line)
        self._print()

    def learned(self, what: str) -> None:
        """That intents have been learned."""
        self._print(f"  [green]✓[/] learned {what}\n")

    def desk(self, found: Desk, violations: Sequence[str]) -> None:
        """What came of the second part."""
        self._print()
        self._console.print(_table(WAYS, map(ways_row, found.ways)))
        self._print()
        for line in desk_told(found):
            self._print(line)
        self._print(_audited(violations))
        self._print()

    def where_next(self, report: Report, *, running: bool) -> None:
        """Where to look now."""
        self._print()
        for line in _next(report, running=running):
            self._print(line)


def _progress(view: JobView) -> str:
    done = view.completed + view.failed
    cost = f"${usd_text(view.cost_nusd)} of ${BUDGET}"
    return f"{done} of {view.total}  {view.rate:.1f}/s  {cost}"


def _shares(view: JobView) -> str:
    shares = {share.deployment: share for share in view.shares}
    parts = []
    for name in (*CLOUDS, LOCAL):
        if name in shares:
            one = shares[name]
            again = one.retries + one.fallbacks
            parts.append(f"{name} {one.completed}" + (f" (+{again} tried again)" if again else ""))
    return ", ".join(parts)


def _panel(job: str, view: JobView) -> Group:
    done = view.completed + view.failed
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row(
        Text(job, style="bold"),
        ProgressBar(total=max(view.total, 1), completed=done, width=40),
        Text(_progress(view)),
    )
    return Group(grid, Text(_shares(view), style="dim"))


WORK = "DEPLOYMENT >RESULTS >SHARE >CALLS >RETRIED >FELL_BACK >THROTTLED >COST".split()
WORTH = "DEPLOYMENT ACCURACY BY_DESIGN RATE_LIMIT_USED".split()


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        name = column.removeprefix(">").replace("_", " ")
        table.add_column(name, justify="right" if column.startswith(">") else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _work(row: Row) -> list[str]:
    return [
        row.deployment,
        str(row.results),
        f"{row.share:.0%}",
        str(row.calls),
        str(row.retries),
        str(row.fallbacks),
        str(row.throttled),
        "unknown" if row.cost_usd is None else f"${row.cost_usd}",
    ]


def _worth(row: Row) -> list[str]:
    rpm = row.limits.get("rpm")
    return [
        row.deployment,
        f"{_percent(row.accuracy)} of {row.labels} topics",
        "a real model" if row.stated is None else f"{row.stated:.0%} (simulated)",
        f"{_percent(row.rate_used)} of {rpm} a minute" if rpm else "has none",
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _summary(report: Report) -> Iterator[str]:
    good = report.status == "completed" and not report.failed
    mark = "[green]✓[/]" if good else "[red]✗[/]"
    failed = f", {report.failed} failed" if report.failed else ""
    yield (
        f"{mark} {report.completed} answers for {report.total} requests{failed} in "
        f"{report.seconds:.0f} s, after {report.setup_seconds:.0f} s to set up"
    )
    yield (
        f"  {report.calls} calls: {report.retries} retried, {report.fallbacks} fell back to "
        f"another deployment, {report.throttled} throttled"
    )
    cost = "unknown" if report.cost_usd is None else f"${report.cost_usd}"
    doubt = ""
    if report.in_doubt:
        what = "1 call" if report.in_doubt == 1 else f"{report.in_doubt} calls"
        doubt = f"; {what} without an answer booked at the upper bound"
    yield (
        f"  cost {cost} of a budget of ${report.budget_usd}; the clouds say they billed "
        f"${report.billed_usd}{doubt}"
    )
    yield _audited(report.violations)
    local = next((row for row in report.rows if row.deployment == LOCAL), None)
    if local is not None and local.accuracy is not None:
        yield (
            f"  the local model was right in {local.accuracy:.0%} of {local.results} messages; "
            f"guessing gives {1 / local.labels:.0%}. It has 135 million parameters"
        )
    if report.missing:
        yield "[yellow]![/] without the local model (reason above)"


def _audited(violations: Sequence[str]) -> str:
    if violations:
        return f"[red]✗[/] the audit found: {escape('; '.join(violations))}"
    return "[green]✓[/] audit: every request has one result, every call stands in the ledger"


def _next(report: Report, *, running: bool) -> Iterator[str]:
    home = _relative(report.places.home)
    yield f"answers   {_relative(report.places.results_file)}"
    yield f"requests  {_relative(report.places.lines_file)}"
    if not running:
        yield "look on   make demo ARGS=--keep leaves the yard running, Flower with it"
        return
    program = "batchyard" if which("batchyard") else f"{_relative(sys.executable)} -m batchyard"
    command = f"BATCHYARD_HOME={home} {program}"
    yield f"Flower    {report.places.flower_url}; its password: {command} flower"
    yield f"look on   {command} job {report.job}"
    yield f"          {command} explain {report.job} bank-001"
    yield f"stop      {command} down"


def _relative(path: str) -> str:
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
