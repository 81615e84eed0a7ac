"""`batchyard watch`."""

import sys
import time
from collections import deque
from collections.abc import Iterator

import typer
from rich.live import Live

from batchyard.cli.complete import JobId, ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.failure import FAILED
from batchyard.cli.jobview import JobPanel, cost_text, job_json
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.show import notes, out, plain
from batchyard.cli.waveview import wave_line
from batchyard.embedded.home import Home
from core.errors import ServiceError
from core.ids import DEFAULT_PROJECT, job_name, job_number
from core.status import JobStatus
from db.jobs import JobView, job_view

EVERY_S = 0.5
PATIENCE_S = 60.0
RATE_OVER_S = 10.0
LINE_EVERY_S = 5.0


def watch(
    job: JobId, *, project: ProjectOption = DEFAULT_PROJECT, as_json: JsonFlag = False
) -> None:
    """Watch a job until it ends: how far, how fast, what it cost, each deployment's share,
    and what it waits for. Ctrl-C ends the watching, not the job.

    Exit code 0 when every request was answered, 1 when some failed or the job ended before
    its time. With --json every change is
    one line. Without a terminal, a line is printed every few seconds.

    \b
    Examples:
      batchyard watch job_12
      batchyard watch 12 --json | jq .completed
    """
    watch_job(Home.from_env(), project, job_number(job), as_json=as_json)


def watch_job(home: Home, project: str, number: int, *, as_json: bool) -> None:
    """Shows the job until it ends. Raises typer.Exit with 1 unless every request was answered."""
    try:
        view = _show(_views(home, project, number), as_json=as_json)
    except KeyboardInterrupt:
        name = job_name(number)
        notes().print(f"\n{name} goes on; see it again with `batchyard watch {name}`")
        raise
    if view.status != JobStatus.COMPLETED or view.failed:
        raise typer.Exit(FAILED)


def _show(views: Iterator[tuple[JobView, float]], *, as_json: bool) -> JobView:
    if as_json:
        return _as_lines_of_json(views)
    if sys.stdout.isatty():
        return _live(views)
    return _as_lines(views)


def _views(home: Home, project: str, number: int) -> Iterator[tuple[JobView, float]]:
    """The job again and again until it has ended, with its rate of the last seconds."""
    views: deque[JobView] = deque()
    lost_at: float | None = None
    while True:
        try:
            view = ask_project(home, project, lambda conn, id_: job_view(conn, id_, number))
        except ServiceError:
            # Postgres restarts by itself, and a job outlives that.
            lost_at = lost_at or time.monotonic()
            if not views or time.monotonic() - lost_at > PATIENCE_S:
                raise
        else:
            lost_at = None
            views.append(view)
            while (view.read_at - views[0].read_at).total_seconds() > RATE_OVER_S:
                views.popleft()
            yield view, view.rate if view.ended_at else view.rate_since(views[0])
            if view.ended_at is not None:
                return
        time.sleep(EVERY_S)


def _live(views: Iterator[tuple[JobView, float]]) -> JobView:
    with Live(console=out(), auto_refresh=False) as live:
        for view, rate in views:
            live.update(JobPanel(view, rate), refresh=True)
    return view


def _as_lines_of_json(views: Iterator[tuple[JobView, float]]) -> JobView:
    before = None
    for view, rate in views:
        told = job_json(view) | {"rate": round(rate, 3)}
        seen = (view.status, view.done, view.failed, view.cost_nusd)
        if seen != before:
            put_json(told)
            sys.stdout.flush()
        before = seen
    return view


def _as_lines(views: Iterator[tuple[JobView, float]]) -> JobView:
    console, last = out(), 0.0
    for view, rate in views:
        if view.ended_at is None and time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            done = f"{plain(view.done)} of {plain(view.total)}"
            done += f", {plain(view.failed)} failed" if view.failed else ""
            cost = cost_text(view.cost_nusd, view.unpriced)
            waits = f"; waits: {view.why}" if view.why else ""
            wave = f"; {wave_line(view.wave)}" if view.wave else ""
            told = f"{view.status}  {done}  {rate:,.1f}/s  {cost}{wave}{waits}"
            console.print(told, soft_wrap=True)
    console.print(JobPanel(view))
    return view
