"""Why a job waits, in words: the one place that says what holds work back. Pure: the facts are
read by `db/waiting.py`.

    nobody works        no worker is alive, the job was paused or stopped
    its deployment      is not open
    another try         a call failed and is made again after a while
    a limit             of the deployment's line, its provider key or the project, or a pause
    money               the budget is reserved for calls in flight
    lanes, turns        bound and not claimed; planned and not bound, because others go first
    the provider        nothing else: calls are in flight, and take as long as they take
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from core.brake import AT_ONCE, Brake, Limit
from core.ids import job_name
from core.money import usd_text
from core.settings import KEY_SCOPE, LINE_MARK, PROJECT_SCOPE, project_scope
from core.status import Back, Condition, DeploymentStatus
from db.brakes import Braked
from db.vitals import Vital

# Dispatch comes by every second: what it has not bound by then has no room.
NEW_S = 2.0
LONG_S = 5.0
SHARE = 0.2
"""Of the time that calls waited for a limit: less is no reason to tell."""
# Classes of errors, as people say them, and why requests came back unsent.
REASONS = {
    "throttled": "its provider said to slow down",
    "overloaded": "its provider is overloaded",
    "transient": "it could not be reached",
    "unknown": "a call was sent and got no answer",
    "malformed": "it answered without sense",
    "rejected": "an answer did not pass the route's checks",
    "credential_dead": "its key was refused, or its model or address is not there",
    "quota_dead": "its quota is used up",
    Back.BUDGET: "the budget was reserved for calls in flight",
    Back.LIMITS: "there was no permit for it within seconds",
    Back.CLOSED: "its deployment was closed",
    Back.SLOW: "its deployment is slower than was thought",
    Back.GONE: "its deployment is no longer in the configuration",
    Back.SLICE: "its lane's slice was over",
    Back.WORKER: "its worker died",
    Back.DATABASE: "its worker lost the database",
}
UNITS = {
    Limit.REQUESTS: "requests a minute",
    Limit.TOKENS: "tokens a minute",
    Limit.INPUT: "input tokens a minute",
    Limit.OUTPUT: "output tokens a minute",
    Limit.CALLS: "calls at once",
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

    @property
    def held(self) -> bool:
        """Whether they wait for a permit."""
        return self.status == "waiting" and self.reason == Back.LIMITS


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
    """What may hold a job up. `workers` are alive, `controls` of them route and dispatch.
    `room_nusd` is what is left of the budgets, None without one;
    `lanes` are those at work in the yard, `tickets` those that nobody has taken up; `linked` are
    jobs that it may wait for, (kind, id)."""

    running: bool
    stop: str | None
    paused: bool
    project: str
    workers: int
    controls: int
    lanes: int
    tickets: int
    room_nusd: int | None
    linked: tuple[tuple[str, int], ...] = ()
    standing: tuple[Standing, ...] = ()
    closed: tuple[Closed, ...] = ()
    braked: tuple[Braked, ...] = ()
    vitals: Mapping[str, Vital] = field(default_factory=dict)

    def at(self, deployment: str, *statuses: str) -> bool:
        """Whether anything stands so at the deployment."""
        return any(g.deployment == deployment and g.status in statuses for g in self.standing)

    @property
    def shut(self) -> set[str]:
        """Deployments that send nothing, and say why themselves."""
        return {one.deployment for one in self.closed if not one.condition.sends}


def why(facts: Waiting) -> str:
    """One sentence or several, "; " between them; empty when nothing is waited for."""
    if not facts.running:
        return ""
    if facts.paused and facts.stop is None:
        return "it is paused; `batchyard resume` lets it go on"
    found = [
        *_workers(facts),
        *_stopping(facts),
        *_routing(facts),
        *(told(closed) for closed in facts.closed),
        *_again(facts),
        *_limits(facts),
        *_budget(facts),
        *_lanes(facts),
        *_room(facts),
    ]
    return "; ".join(found or _latency(facts))


def _workers(facts: Waiting) -> list[str]:
    if not facts.workers:
        return ["no worker is alive: start the yard with `batchyard up`"]
    if not facts.controls:
        return ["no control worker is alive, so nothing new is routed or sent: `batchyard ps`"]
    return []


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
        return f"Replace its key, model or address, then {resume}"
    if standing.drained or standing.status is DeploymentStatus.PAUSED:
        return f"{resume} opens it"
    return ""


def _again(facts: Waiting) -> list[str]:
    """Beside others at work, the odd request that backs off for a moment says nothing."""
    busy = any(group.status in ("ready", "leased") for group in facts.standing)
    return [
        f"{_requests(group.unsent)} for another try at {group.deployment}"
        + ("" if group.deployment in facts.shut else f", the first in {_seconds(group.due)}")
        + f" ({REASONS.get(group.reason, group.reason) or 'given back'})"
        for group in facts.standing
        if group.status == "waiting"
        and group.kind == "call"
        and group.due > (LONG_S if busy else 0)
        and group.reason not in (Back.LIMITS, Back.BUDGET)
    ]


def _limits(facts: Waiting) -> list[str]:
    """What calls to the deployments at which the job's work stands are waiting for."""
    own = project_scope(facts.project)
    here = {
        group.deployment
        for group in facts.standing
        if group.status in ("ready", "leased")
        or group.held
        or (group.status == "planned" and group.kind == "call")
    }
    # Two deployments may wait for the same key or project.
    sentences: dict[str, None] = {}
    for one in facts.braked:
        others = one.scope.startswith(PROJECT_SCOPE) and one.scope != own
        if one.deployment in here - facts.shut and one.share >= SHARE and not others:
            text = f"{scope_told(one.scope)} {braked(one.brake)}"
            if one.brake.what in AT_ONCE:
                text += _takes(facts.vitals.get(one.deployment))
            sentences[text] = None
    return [*sentences]


def braked(brake: Brake) -> str:
    """What a limit does to calls, for a sentence about its scope."""
    if brake.what is Limit.PAUSE:
        return "was told to slow down (429) and pauses"
    if brake.what is Limit.SERVER:
        return "goes on with each worker's share of its limits: the limiter's server is away"
    if brake.what is Limit.WINDOW:
        return f"takes {brake.most:,.0f} calls at once, as far as its answers have shown"
    return f"is at its limit of {brake.most:,.0f} {UNITS[brake.what]}"


def scope_told(scope: str) -> str:
    """Whose limits they are."""
    if scope.startswith(PROJECT_SCOPE):
        return f"project {scope.removeprefix(PROJECT_SCOPE)}"
    if scope.startswith(KEY_SCOPE):
        provider, _, number = scope.removeprefix(KEY_SCOPE).partition(LINE_MARK)
        return f"key {number} of {provider}"
    return scope


def _takes(vital: Vital | None) -> str:
    if vital is None or vital.latency_ms is None:
        return ""
    return f"; an answer takes {_length(vital.latency_ms)}"


def _length(ms: float) -> str:
    return f"{ms:,.0f} ms" if ms < 1000 else f"{ms / 1000:,.1f} s"


def _budget(facts: Waiting) -> list[str]:
    if facts.room_nusd is None or facts.stop is not None:
        return []
    short = any(group.reason == Back.BUDGET for group in facts.standing)
    return [f"${usd_text(facts.room_nusd)} of its budget is free just now"] if short else []


def _lanes(facts: Waiting) -> list[str]:
    """Bound work that no lane has taken up, although nothing else is in the way."""
    braked_ = {one.deployment for one in facts.braked if one.share >= SHARE}
    counts: dict[str, int] = {}
    for group in facts.standing:
        late = group.status == "ready" and group.kind == "call" and group.due < -NEW_S
        if late and not facts.at(group.deployment, "leased"):
            counts[group.deployment] = counts.get(group.deployment, 0) + group.unsent
    lanes = f"{facts.lanes} at work" + (f", {facts.tickets} queued" if facts.tickets else "")
    return [
        f"{_requests(count)} for a lane at {name} ({lanes})"
        for name, count in counts.items()
        if name not in facts.shut | braked_
    ]


def _room(facts: Waiting) -> list[str]:
    """Planned work where nothing of the job is bound or sent: others go first."""
    shut = {closed.deployment for closed in facts.closed}
    planned: dict[str, int] = {}
    for group in facts.standing:
        waits = group.status == "planned" and group.kind == "call" and group.due < -NEW_S
        moves = facts.at(group.deployment, "ready", "leased", "waiting")
        if waits and not moves and group.deployment not in shut:
            planned[group.deployment] = planned.get(group.deployment, 0) + group.unsent
    return [f"{_requests(count)} for room at {name}" for name, count in planned.items()]


def _latency(facts: Waiting) -> Iterator[str]:
    """Nothing is in the way: the answers take their time."""
    for name in sorted({g.deployment for g in facts.standing if g.status == "leased"}):
        vital = facts.vitals.get(name)
        if vital is not None and vital.in_flight:
            calls = "1 call" if vital.in_flight == 1 else f"{vital.in_flight:,} calls"
            yield f"the answers of {name}: {calls} in flight{_takes(vital)}"


def _requests(count: int) -> str:
    return "1 request waits" if count == 1 else f"{count:,} requests wait"


def _seconds(seconds: float) -> str:
    return f"{max(0.0, seconds):.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
