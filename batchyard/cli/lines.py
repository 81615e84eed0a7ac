"""Deployments as people are shown them: one row a line."""

from typing import Any

from batchyard.cli.show import ago
from core.settings import Settings, configured_name
from core.status import Condition, DeploymentStatus
from db.overview import Backlog, DeploymentState, Overview
from db.vitals import Vital
from db.waits import SHARE, braked, remedy, scope_told

OPEN = Condition()


def lines(settings: Settings, seen: Overview) -> list[dict[str, Any]]:
    """Every line of the configuration: whose it is, its key's reference, how it stands and
    why, what waits for it, and how it fares: calls answered and failed since the present
    workers began, and what it did lately. Times in seconds, unless the name says otherwise."""
    states = {one.deployment: one for one in seen.deployments}
    return [
        _line(settings, line, number, states.get(line), seen)
        for name in settings.deployments
        for number, line in enumerate(settings.lines(name))
    ]


def _line(
    settings: Settings, line: str, number: int, state: DeploymentState | None, seen: Overview
) -> dict[str, Any]:
    deployment = settings.deployments[configured_name(line)]
    standing = state.condition if state else OPEN
    vital = seen.vitals.get(line, Vital(line))
    references = settings.providers[deployment.provider].references
    return {
        "deployment": line,
        "provider": deployment.provider,
        "model": deployment.model,
        "key": references[number] if references else None,
        "state": standing.shown,
        "drained": standing.drained,
        "cause": standing.cause,
        "reason": standing.reason,
        "fix": remedy(line, standing),
        "brake": _brake(line, seen),
        "left_s": round(standing.left, 1) if standing.left else None,
        "in_flight": vital.in_flight,
        "answered": vital.answered,
        "failed": vital.failed,
        "rate": round(vital.rate, 1),
        "latency_ms": None if vital.latency_ms is None else round(vital.latency_ms),
        **counts([one for one in seen.backlog if one.deployment == line]),
    }


def _brake(line: str, seen: Overview) -> str:
    """What holds its calls back most; empty where nothing does."""
    for one in seen.braked:
        if one.deployment == line and one.share >= SHARE:
            whose = "" if one.scope == line else f"{scope_told(one.scope)} "
            return f"{whose}{braked(one.brake)}"
    return ""


def counts(backlog: list[Backlog]) -> dict[str, Any]:
    """Requests by where they stand; `oldest_s` is the age of the oldest bound one."""
    sums = dict.fromkeys(("planned", "ready", "waiting", "leased"), 0)
    for one in backlog:
        sums[one.status] += one.requests
    ages = [one.age for one in backlog if one.status == "ready" and one.age >= 0]
    return {
        "backlog": sums["planned"],
        "bound": sums["ready"],
        "waiting": sums["waiting"],
        "leased": sums["leased"],
        "oldest_s": round(max(ages), 1) if ages else None,
    }


def why(line: dict[str, Any]) -> str:
    """Why it is not open, and until when, for a cell of a table."""
    beside = "drained" if line["drained"] and line["state"] != DeploymentStatus.DRAINED else ""
    left = "" if line["left_s"] is None else f"for {ago(line['left_s'])} more"
    standing = "; ".join(filter(None, (line["reason"], left, beside, line["brake"])))
    return ". ".join(filter(None, (standing, line["fix"])))
