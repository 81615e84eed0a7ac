"""`batchyard explain`."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from batchyard.cli.complete import JobId, ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.jobview import JobPanel, job_json, when
from batchyard.cli.means import means_json, means_told
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.reasons import because, chosen, lists, stepped, uncalled_for
from batchyard.cli.savedview import report_json, saved_lines
from batchyard.cli.show import ago, count, out, plain
from batchyard.cli.waveview import wave_lines
from batchyard.embedded.home import Home
from core.ids import DEFAULT_PROJECT, job_name, job_number
from core.lazy import lazy
from core.money import usd_text
from db.connect import Connection
from db.reports import was_foreseen
from db.scores import Scores, job_scores
from db.stories import Call, JobStory, Planned, RequestStory, Whereabouts, job_story, request_story
from db.waits import REASONS

if TYPE_CHECKING:
    from tasks.router import reports
else:
    reports = lazy("tasks.router.reports")


BY_LOT = 0.5
"""The propensity of a first candidate that the router would not have chosen is below."""


def explain(
    job: JobId,
    custom_id: Annotated[str, typer.Argument(help="One request (default: the job).")] = "",
    *,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Tell the story of a job, or of one of its requests: what it asked for, who was to answer
    it and why, every call that was made, and where it is now. Lines without a custom_id are
    called request-<line>.

    \b
    Examples:
      batchyard explain job_12
      batchyard explain 12 m-17
      batchyard explain 12 request-1 --json
    """
    number, home = job_number(job), Home.from_env()
    if custom_id:
        story = ask_project(
            home, project, lambda conn, id_: request_story(conn, id_, number, custom_id)
        )
        if as_json:
            put_json({"id": job_name(number), **_request_json(story)})
        else:
            _print(_request_lines(story))
        return

    async def asked(
        conn: Connection, id_: int
    ) -> tuple[JobStory, Scores, "reports.JobReport | None"]:
        story = await job_story(conn, id_, number)
        routed = await was_foreseen(conn, story.view.part, number)
        saved = await reports.report(conn, id_, number) if routed else None
        return story, await job_scores(conn, id_, number), saved

    whole, scores, saved = ask_project(home, project, asked)
    if as_json:
        told = None if saved is None else report_json(saved)["savings"]
        put_json(_job_json(whole) | {"scores": means_json(scores), "savings": told})
    else:
        out().print(JobPanel(whole.view))
        _print(means_told(scores))
        _print(saved_lines(saved) if saved is not None else iter(()))
        _print(_job_lines(whole))


def _print(lines: Iterator[Text]) -> None:
    console = out()
    for line in lines:
        console.print(line, soft_wrap=True)


def _job_json(story: JobStory) -> dict[str, Any]:
    return job_json(story.view) | {
        "events": [{"kind": kind, "data": data, "at": at} for kind, data, at in story.events],
        "plans": [{**body, "requests": count} for body, count in story.plans],
        "choices": [asdict(one) for one in story.choices],
        "waves": [{"wave": one.wave, **one.body, "at": one.at} for one in story.waves],
    }


def _request_json(story: RequestStory) -> dict[str, Any]:
    calls = []
    for call in story.calls:
        told = asdict(call)
        told["cost_usd"] = usd_text(told.pop("cost_nusd"))
        told["bound_usd"] = usd_text(told.pop("bound_nusd"))
        told.pop("choice")
        told["why"] = asdict(call.why) if call.why else None
        calls.append(told)
    return {
        "job_status": story.job_status,
        "request": asdict(story.asked),
        "plans": [_plan_json(plan) for plan in story.plans],
        "calls": calls,
        "outcome": asdict(story.outcome) if story.outcome else None,
        "now": _now_json(story.now) if story.now else None,
        "waits_for": story.why,
        "closed": [asdict(closed) for closed in story.closed],
        "linked": [asdict(one) | {"job_id": job_name(one.job_id)} for one in story.elsewhere],
    }


def _now_json(now: Whereabouts) -> dict[str, Any]:
    told = asdict(now)
    told.pop("choice")
    return told | {"why": asdict(now.why) if now.why else None}


def _job_lines(story: JobStory) -> Iterator[Text]:
    yield Text("\nPlans", style="bold")
    for body, number in story.plans:
        yield Text(f"  {count(number, 'request')}: {_plan(body)}")
    if story.choices:
        yield Text("\nChoices", style="bold")
        for one in story.choices:
            yield Text(f"  {chosen(one)}")
    if story.waves:
        yield Text("\nWaves", style="bold")
        yield from wave_lines(story.waves)
    yield Text("\nHistory", style="bold")
    for kind, data, at in story.events:
        facts = ", ".join(f"{key} {_fact(value)}" for key, value in data.items())
        yield Text(f"  {when(at)}  {kind:<14} {facts}")


def _fact(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _plan(body: dict[str, Any]) -> str:
    return (
        f"route {body.get('route')}: {lists(body)}; up to {body.get('max_attempts')} attempts and "
        f"{body.get('max_output')} tokens of output{_rules(body)}"
    )


def _rules(body: dict[str, Any]) -> str:
    """What else the plan asks for: the request's own timeout, the checks of its answer."""
    timeout, checks = body.get("timeout"), body.get("checks") or {}
    schema = {None: "", "request": ", or not as it asked"}.get(
        checks.get("schema"), ", or not of its schema"
    )
    named = {
        "empty": "empty",
        "truncated": "cut off",
        "unread": "to half of the prompt or less",
        "invalid": f"not JSON{schema}",
    }
    told = [
        f"{word}: {checks[name]}"
        for name, word in named.items()
        if checks.get(name, "accept") != "accept"
    ]
    return (f"; {timeout:g} s a call" if timeout else "") + (
        f"; an answer that is {'; '.join(told)}" if told else ""
    )


def _request_lines(story: RequestStory) -> Iterator[Text]:
    asked = story.asked
    yield Text.assemble((asked.custom_id, "bold"), f"  line {asked.row}")
    yield Text(f"asked for {asked.target or 'no model'}, {plain(asked.body_chars)} characters")
    for one in story.elsewhere:
        ended = one.status or "no result yet"
        yield Text(f"{one.kind} in {job_name(one.job_id)} as {one.custom_id}: {ended}")
    for planned in story.plans:
        yield Text(_planned(planned))
    for call in story.calls:
        yield _call(call)
    yield _ending(story)
    if story.why:
        yield Text.assemble(("waits: ", "yellow"), story.why)


def _planned(planned: Planned) -> str:
    sure = "" if planned.probability is None else f" ({planned.probability:.2f})"
    reasons = planned.reasons | ({"intent": planned.intent + sure} if planned.intent else {})
    if planned.propensity is not None and planned.propensity < BY_LOT:
        chance = f"1 in {1 / planned.propensity:.0f}"
        reasons["explored"] = f"its first candidate was drawn by lot, at a chance of {chance}"
    why = "; ".join(f"{key}: {value}" for key, value in reasons.items())
    estimate = f"about {plain(planned.tokens)} tokens in"
    foreseen = ", ".join(
        f"{one.candidate} {one.quality:.2f} at ${one.usd_per_1k:.3g} for 1,000"
        for one in planned.predicted
    )
    told = f"planned, {_plan(planned.body)}; {estimate}" + (f" ({why})" if why else "")
    return told + (f"\n        foreseen: {foreseen}" if foreseen else "")


def _plan_json(planned: Planned) -> dict[str, Any]:
    told = asdict(planned)
    for packed in ("candidates", "quality", "cost"):
        told.pop(packed)
    return told | {"predicted": [one._asdict() for one in planned.predicted]}


def _call(call: Call) -> Text:
    tokens = ""
    if call.input_tokens is not None:
        tokens = f", {plain(call.input_tokens)} + {plain(call.output_tokens or 0)} tokens"
    cost = f"${call.cost_usd}" if call.cost_nusd is not None else "cost unknown"
    what = f"{call.status}{f' ({call.http_status})' if call.http_status else ''}"
    line = Text(f"call {call.n}  {when(call.at)}  {call.deployment}  ")
    line.append(what, style="green" if call.status == "ok" else "yellow")
    line.append(f"  {plain(call.latency_ms)} ms{tokens}, {cost}")
    if call.why:
        line.append(f"\n        {because(call.why)}")
    if call.error and not call.error_class:
        line.append(f"\n        {call.error}")
    if call.error_class:
        line.append(f"\n        {call.error_class}: {call.error or ''}")
    return line


def _ending(story: RequestStory) -> Text:
    if story.outcome is not None:
        found = story.outcome
        by = f" by {found.deployment}, call {found.n}" if found.deployment else ""
        uncalled = uncalled_for(found.error) if not found.n else ""
        return Text.assemble((found.status, "bold"), by, stepped(found.step), uncalled)
    if story.now is None:
        return Text(f"not run: its job is {story.job_status}")
    now = story.now
    if now.sent:
        return Text(f"at its turn at {now.deployment}: in flight, or waits for its permit")
    steps = {"route": "to be routed", "plan": "for the next wave of its job's plan"}
    where = f"waits {steps.get(now.kind, f'to be sent to {now.deployment}')}"
    due = f", due in {ago(now.due)}" if now.due > 0 else ""
    why = f"\n        {because(now.why)}" if now.why else ""
    back = f": {REASONS.get(now.reason, now.reason)}" if now.reason else ""
    return Text(f"{where} ({now.status}{back}){due}{why}")
