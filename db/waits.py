"""Why a job waits, in words. Pure: the facts are read by `db/jobs.py`."""

from dataclasses import dataclass

from core.ids import job_name
from core.money import usd_text
from core.status import Condition, DeploymentStatus

# Dispatch comes by every second: what it has not bound by then has no room.
NEW_S = 2.0
LONG_S = 5.0
# Classes of errors, as people say them.
REASONS = {
    "throttled": "its provider said to slow down",
    "overloaded": "its provider is overloaded",
    "transient": "it could not be reached",
    "unknown": "a call was sent and got no answer",
    "malformed": "it answered without sense",
    "rejected": "an answer did not pass the route's checks",
    "credential_dead": "its key was refused",
    "quota_dead": "its quota is used up",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Open chunks of one kind, status, deployment and reason. `due` in seconds from now."""

    kind: str
    status: str
    deployment: str
    reason: str
    chunks: int
    unsent: int
    due: float

    @property
    def label(self) -> str:
        """How the count of chunks is called: their status, or the step they wait for."""
        return self.status if self.kind == "call" else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A deployment that is not open, or drained; `reopens` in seconds from now, None: not by
    itself."""

    deployment: str
    status: str
    reason: str
    reopens: float | None
    drained: bool = False

    @property
    def condition(self) -> Condition:
        """How it stands, as dispatch and lanes see it."""
        status = DeploymentStatus(self.status)
        return Condition(status, None, self.reason, self.reopens, self.drained)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What may hold a job up. `linked` are jobs that it may wait for, (kind, id); `room_nusd` is
    what is left of its budget, None without one."""

    running: bool
    stop: str | None
    paused: bool
    workers: int
    standing: tuple[Standing, ...]
    closed: tuple[Closed, ...]
    room_nusd: int | None
    linked: tuple[tuple[str, int], ...] = ()


def why(facts: Waiting) -> str:
    """One sentence or several, "; " between them; empty when nothing is waited for."""
    if not facts.running:
        return ""
    if facts.paused and facts.stop is None:
        return "it is paused; `batchyard resume` lets it go on"
    return "; ".join(
        (
            *_workers(facts),
            *_stopping(facts),
            *_routing(facts),
            *(told(closed) for closed in facts.closed),
            *_again(facts),
            *_room(facts),
            *_budget(facts),
        )
    )


def _workers(facts: Waiting) -> list[str]:
    if facts.workers:
        return []
    return ["no worker is alive: start the yard with `batchyard up`"]


def _stopping(facts: Waiting) -> list[str]:
    if facts.stop is None:
        return []
    leased = any(group.status == "leased" for group in facts.standing)
    rest = "its calls in flight" if leased else "its last step"
    return [f"it was stopped ({facts.stop}) and waits for {rest}"]


def _routing(facts: Waiting) -> list[str]:
    """What waits to be routed, or for a linked job before that."""
    names = dict(facts.linked)
    counts: dict[str, int] = {}
    for group in facts.standing:
        if group.kind == "route":
            reason = group.reason if group.reason in names else ""
            counts[reason] = counts.get(reason, 0) + group.unsent
    return [
        f"{_requests(count)} "
        + (f"for {job_name(names[reason])} ({reason})" if reason else "to be routed")
        for reason, count in counts.items()
    ] + _planning(facts)


def _planning(facts: Waiting) -> list[str]:
    """What waits for the next wave of a job that is planned as a whole."""
    count = sum(group.unsent for group in facts.standing if group.kind == "plan")
    return [f"{_requests(count)} for the next wave of its plan"] if count else []


def told(closed: Closed) -> str:
    """How a deployment stands, why, and what ends it."""
    standing = closed.condition
    back = f", back in {_seconds(closed.reopens)}" if closed.reopens is not None else ""
    reason = f" ({closed.reason})" if closed.reason else ""
    beside = " and drained" if standing.drained and standing.shown is standing.status else ""
    told = f"deployment {closed.deployment} is {standing.shown}{beside}{reason}{back}"
    return ". ".join(filter(None, (told, remedy(closed.deployment, standing))))


def remedy(deployment: str, standing: Condition) -> str:
    """What an operator can do about a deployment that is not open; empty where it opens by
    itself."""
    resume = f"`batchyard deployments resume {deployment}`"
    if standing.status is DeploymentStatus.DISABLED:
        return f"Replace its key, then {resume}"
    if standing.drained or standing.status is DeploymentStatus.PAUSED:
        return f"{resume} opens it"
    return ""


def _again(facts: Waiting) -> list[str]:
    """Beside others at work, the odd request that backs off for a moment says nothing."""
    busy = any(group.status in ("ready", "leased") for group in facts.standing)
    return [
        f"{_requests(group.unsent)} for another try at {group.deployment}, the first in "
        f"{_seconds(group.due)} ({REASONS.get(group.reason, group.reason) or 'given back'})"
        for group in facts.standing
        if group.status == "waiting"
        and group.kind == "call"
        and group.due > (LONG_S if busy else 0)
    ]


def _room(facts: Waiting) -> list[str]:
    shut = {closed.deployment for closed in facts.closed}
    planned: dict[str, int] = {}
    for group in facts.standing:
        waits = group.status == "planned" and group.due < -NEW_S
        if waits and group.deployment not in shut:
            planned[group.deployment] = planned.get(group.deployment, 0) + group.unsent
    return [f"{_requests(count)} for room at {name}" for name, count in planned.items()]


def _budget(facts: Waiting) -> list[str]:
    if facts.room_nusd is None or facts.stop is not None:
        return []
    short = any("budget" in group.reason for group in facts.standing)
    return [f"${usd_text(facts.room_nusd)} of its budget is free just now"] if short else []


def _requests(count: int) -> str:
    return "1 request waits" if count == 1 else f"{count:,} requests wait"


def _seconds(seconds: float) -> str:
    return f"{max(0.0, seconds):.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
