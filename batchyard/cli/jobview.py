"""A job for scripts and for people."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from batchyard.cli.show import ago, plain, table
from batchyard.cli.waveview import wave_json, wave_line
from core.ids import DEFAULT_PROJECT, job_name
from core.money import usd_about, usd_text
from core.status import JobStatus
from db.jobs import JobLine, JobView, Share

BAR = 40
COLOURS = {
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "red",
    JobStatus.EXPIRED: "red",
    JobStatus.BUDGET_EXHAUSTED: "yellow",
    JobStatus.CANCELLED: "yellow",
    JobStatus.CANCELLING: "yellow",
}


def line_json(line: JobLine) -> dict[str, Any]:
    """A job in a list. `cost_usd` is None where a call's price is unknown."""
    return {
        "id": job_name(line.id),
        "parent_id": _parent(line),
        "kind": line.kind,
        "name": line.name,
        "status": line.status,
        "paused": line.paused,
        "route": line.route,
        "source": line.source,
        "total": line.total,
        "completed": line.completed,
        "failed": line.failed,
        "uncalled": line.uncalled,
        "cost_usd": line.cost_usd,
        "created_at": line.created_at,
        "ended_at": line.ended_at,
    }


def job_json(view: JobView) -> dict[str, Any]:
    """A job with all its parts. Money as decimal strings of dollars; `cost_usd` is None where
    `unpriced` calls have a cost nobody knows, and `known_cost_usd` leaves those out;
    `unbooked_usd` is what providers reported beyond what their calls could have cost. `spent_usd`
    is what the budget has been spent on, by the job and those linked to it."""
    return {
        "id": job_name(view.id),
        "parent_id": _parent(view),
        "kind": view.kind,
        "project": view.project,
        "name": view.name,
        "status": view.status,
        "paused": view.paused,
        "weight": view.weight,
        "deadline": view.deadline,
        "route": view.route,
        "source": view.source,
        "metadata": view.metadata,
        "total": view.total,
        "completed": view.completed,
        "failed": view.failed,
        "open": view.open,
        "counts": view.counts,
        "cost_usd": view.cost_usd,
        "known_cost_usd": usd_text(view.cost_nusd),
        "unpriced": view.unpriced,
        "unbooked_usd": usd_text(view.unbooked_nusd),
        "budget_usd": usd_text(view.limit_nusd),
        "spent_usd": usd_text(view.spent_nusd),
        "linked": [line_json(line) for line in view.linked],
        "clarified": dict(view.clarified),
        "pilot": view.lesson,
        "wave": wave_json(view.wave),
        "rate": round(view.rate, 3),
        "eta_seconds": _rounded(view.eta_seconds),
        "seconds": round(view.seconds, 3),
        "waits_for": view.why,
        "chunks": view.chunks,
        "by_deployment": [_share_json(share) for share in view.shares if share.deployment],
        "created_at": view.created_at,
        "in_progress_at": view.in_progress_at,
        "finalizing_at": view.finalizing_at,
        "ended_at": view.ended_at,
    }


def _parent(job: JobView | JobLine) -> str | None:
    return None if job.parent_id is None else job_name(job.parent_id)


def _share_json(share: Share) -> dict[str, Any]:
    names = (
        "attempts errors throttled unknown retries fallbacks escalations completed failed unpriced"
    )
    return {
        "deployment": share.deployment,
        **{name: getattr(share, name) for name in names.split()},
        "input_tokens": share.input_tokens,
        "output_tokens": share.output_tokens,
        "cost_usd": share.cost_usd,
        "unbooked_usd": usd_text(share.unbooked_nusd),
        "mean_latency_ms": _rounded(share.mean_latency_ms),
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 1)


def status_text(job: JobView | JobLine) -> Text:
    """The status in the colour of what it means, and whether the job is paused."""
    text = Text(job.status, style=COLOURS.get(JobStatus(job.status), ""))
    if job.paused and job.ended_at is None:
        text.append(" (paused)", style="yellow")
    return text


def cost_text(nusd: int, unpriced: int) -> str:
    """`$0.0123`, with what is not in it."""
    known = f"${usd_text(nusd)}"
    return f"{known} + {plain(unpriced)} calls of unknown price" if unpriced else known


def bar(view: JobView) -> Text:
    """How far it is: what was answered, what failed, what was not called for, and the rest."""
    whole = max(view.total, 1)
    failed = min(BAR, -(-view.failed * BAR // whole))
    uncalled = min(BAR - failed, -(-(view.done - view.completed - view.failed) * BAR // whole))
    answered = min(BAR - failed - uncalled, view.completed * BAR // whole)
    ended = view.done == view.total
    return Text.assemble(
        ("━" * answered, "green" if ended else "cyan"),
        ("━" * failed, "red"),
        ("━" * uncalled, "yellow"),
        ("─" * (BAR - answered - failed - uncalled), "dim"),
    )


class JobPanel:
    """A job as a block of lines: how far, how fast, how much, by which deployment, and why it
    waits. `rate` is what it did lately, in requests a second."""

    def __init__(self, view: JobView, rate: float | None = None) -> None:
        self._view = view
        self._rate = view.rate if rate is None else rate

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._lines(narrow=options.max_width < WIDE_ENOUGH)

    def _lines(self, *, narrow: bool) -> Iterator[Any]:
        view = self._view
        title = Text.assemble((job_name(view.id), "bold"), "  ", status_text(view))
        yield title.append(f"  {view.name or view.source}", style="dim")
        yield self._bar()
        yield Text("  ").join(
            fact if isinstance(fact, Text) else Text(fact) for fact in self._facts()
        )
        shares = [share for share in view.shares if share.deployment]
        if shares:
            without = {*(SPARED if narrow else ())}
            if not any(share.escalations for share in shares):
                without.add(STEPS)
            headings = [name for name in SHARES if name not in without]
            rows = [_share_row(share, view) for share in shares]
            yield Text("")
            yield table(headings, [[row[name] for name in headings] for row in rows])
        if view.linked:
            yield Text("")
            yield from map(_linked_line, view.linked)
        if view.lesson:
            yield Text.assemble("\n", ("pilot: ", "yellow"), view.lesson)
        if view.wave:
            yield Text.assemble("\n", ("plan: ", "cyan"), wave_line(view.wave))
        for share in shares:
            if share.unbooked_nusd:
                yield Text.assemble("\n", ("not booked: ", "yellow"), _unbooked(share))
        if view.why:
            yield Text.assemble("\n", ("waits: ", "yellow"), view.why)

    def _bar(self) -> Table:
        view = self._view
        done = view.done
        grid = Table.grid(padding=(0, 2, 0, 0))
        share = done / view.total if view.total else 1.0
        # Rounded down: all is not done before it is.
        percent = f"{int(share * 100)}%"
        grid.add_row(bar(view), percent, f"{plain(done)} of {plain(view.total)}")
        return grid

    def _facts(self) -> Iterator[str | Text]:
        view = self._view
        if view.parent_id is not None:
            yield f"{view.kind} of {job_name(view.parent_id)}"
        if view.project != DEFAULT_PROJECT:
            yield f"project {view.project}"
        if view.weight != 1:
            yield f"weight {view.weight:g}"
        if view.failed:
            yield Text(f"{plain(view.failed)} failed", style="red")
        for name in ("out_of_scope", "needs_clarification", view.stop or ""):
            if number := view.counts.get(name):
                yield Text(f"{plain(number)} {name}", style="yellow")
        yield f"{self._rate:,.1f}/s"
        if view.open and self._rate > 0 and not view.halted:
            yield f"about {ago(view.open / self._rate)} to go"
        yield f"{ago(view.seconds)} so far" if view.open else f"took {ago(view.seconds)}"
        if view.deadline and view.open:
            yield f"to be done by {when(view.deadline)}"
        if view.clarified:
            told = ", ".join(f"{plain(n)} {status}" for status, n in view.clarified.items())
            yield f"{plain(sum(view.clarified.values()))} clarified ({told})"
        yield _money(view)


def _money(view: JobView) -> str:
    """What it cost, and what was spent of the budget that it shares with linked jobs."""
    cost = cost_text(view.cost_nusd, view.unpriced)
    if view.linked or view.parent_id is not None:
        cost += f", ${usd_text(view.spent_nusd)} with linked jobs"
    return f"{cost} of ${usd_text(view.limit_nusd)}" if view.limit_nusd else cost


def _unbooked(share: Share) -> str:
    """What to do about a provider that reports more than was reserved."""
    return (
        f"{share.deployment} reports ${usd_about(share.unbooked_nusd)} more than its calls were "
        f"reserved for. Compare its bill; where it is right, raise the route's max_output"
    )


def _linked_line(line: JobLine) -> Text:
    """A job under its parent: `└ job_13  pilot  in_progress  310/500  $0.12`."""
    done = f"{plain(line.completed + line.failed + line.uncalled)}/{plain(line.total)}"
    failed = f"  {plain(line.failed)} failed" if line.failed else ""
    head = Text.assemble("└ ", (job_name(line.id), "bold"), f"  {line.kind}  ", status_text(line))
    return head.append(f"  {done}{failed}  {cost_text(line.cost_nusd, line.unpriced)}")


SHARES = (
    "DEPLOYMENT",
    ">RESULTS",
    ">SHARE",
    ">CALLS",
    ">RETRIES",
    ">FALLBACKS",
    ">ESCALATED",
    ">ERRORS",
    ">THROTTLED",
    ">IN DOUBT",
    ">LATENCY",
    ">COST",
)
# What a narrow terminal does without.
SPARED = (">RETRIES", ">FALLBACKS", ">THROTTLED", ">IN DOUBT")
# What only a cascade has.
STEPS = ">ESCALATED"
WIDE_ENOUGH = 125


def _share_row(share: Share, view: JobView) -> dict[str, str]:
    ended = share.completed + share.failed
    whole = max(view.completed + view.failed, 1)
    latency = share.mean_latency_ms
    return {
        "DEPLOYMENT": share.deployment,
        ">RESULTS": plain(ended),
        ">SHARE": f"{ended / whole:.0%}",
        ">CALLS": plain(share.attempts),
        ">RETRIES": plain(share.retries),
        ">FALLBACKS": plain(share.fallbacks),
        STEPS: plain(share.escalations),
        ">ERRORS": plain(share.errors),
        ">THROTTLED": plain(share.throttled),
        ">IN DOUBT": plain(share.unknown),
        ">LATENCY": f"{latency:,.0f} ms" if latency is not None else "-",
        ">COST": "unknown" if share.unpriced else f"${usd_text(share.cost_nusd)}",
    }


def when(moment: datetime) -> str:
    """A time as people here read it."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
