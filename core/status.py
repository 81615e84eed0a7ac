"""The closed sets of states, with their transitions.

    job      validating ─► in_progress ─► finalizing ─► completed
                 │             │  └──── stop ────────► cancelling ─► cancelled
                 └► failed     └──── stop ────────► expired · budget_exhausted

    chunk    planned ─► ready ─► leased ─► done
                          ▲        │ └──► (entries move to a new chunk: waiting ─► leased)
                          └────────┘ given back, or its process died

    attempt  ok · error · unknown ─► late · resolved   (the one change that is allowed)

    deployment   open ─► cooling ─► probing ─► open     by itself: failures, limits, quota
                 open ─► disabled ─► open               its key was refused; an operator opens it
                 any  ─► paused ─► open                 by an operator
                 and drained, beside any of them        by an operator: nothing new is bound

`budget_exhausted` is batchyard's own word beside the OpenAI Batch API's statuses.
"""

from dataclasses import dataclass
from enum import StrEnum


class JobStatus(StrEnum):
    """What a job's owner sees; OpenAI's words and one more."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    BUDGET_EXHAUSTED = "budget_exhausted"

    @property
    def terminal(self) -> bool:
        """Whether the job is over."""
        return self in TERMINAL_JOB


TERMINAL_JOB = frozenset(
    {
        JobStatus.COMPLETED,
        JobStatus.FAILED,
        JobStatus.EXPIRED,
        JobStatus.CANCELLED,
        JobStatus.BUDGET_EXHAUSTED,
    }
)


class Stop(StrEnum):
    """Why a job takes no new work; its value is the job's terminal status."""

    CANCELLED = "cancelled"
    EXPIRED = "expired"
    BUDGET_EXHAUSTED = "budget_exhausted"


class Halt(StrEnum):
    """Whether a job's requests may be sent: NONE says yes, PAUSED not now, STOPPED never."""

    NONE = ""
    PAUSED = "paused"
    STOPPED = "stopped"


class ChunkStatus(StrEnum):
    """Where requests that travel together stand."""

    PLANNED = "planned"
    READY = "ready"
    LEASED = "leased"
    WAITING = "waiting"
    SUBMITTED = "submitted"
    DONE = "done"


class Back(StrEnum):
    """Why requests that were bound wait again, unsent; beside the classes of errors, which say
    why they are called again."""

    BUDGET = "budget"
    LIMITS = "limits"
    CLOSED = "closed"
    OPENED = "opened"
    SLOW = "slow"
    GONE = "gone"
    SLICE = "slice"
    WORKER = "worker"
    DATABASE = "database"


class AttemptStatus(StrEnum):
    """What is known of one call."""

    OK = "ok"
    ERROR = "error"
    UNKNOWN = "unknown"
    LATE = "late"
    RESOLVED = "resolved"


class DeploymentStatus(StrEnum):
    """Whether a deployment gets work. DRAINED is how one that is open and drained is shown."""

    OPEN = "open"
    COOLING = "cooling"
    PROBING = "probing"
    DISABLED = "disabled"
    PAUSED = "paused"
    DRAINED = "drained"


class Cause(StrEnum):
    """Why a deployment is not open."""

    LIMITS = "limits"
    FAILURES = "failures"
    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    QUOTA = "quota"
    KEY = "key"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Condition:
    """How a deployment stands, and why. `left` is in seconds, until it changes by itself.
    `drained` is an operator's word beside it: it sends what it has, and may fail at that as any
    other, but gets nothing new."""

    status: DeploymentStatus = DeploymentStatus.OPEN
    cause: Cause | None = None
    reason: str = ""
    left: float | None = None
    drained: bool = False

    @property
    def binds(self) -> bool:
        """Whether new work may be bound to it."""
        return self.sends and not self.drained

    @property
    def sends(self) -> bool:
        """Whether what is bound may be sent."""
        return self.status in (DeploymentStatus.OPEN, DeploymentStatus.PROBING)

    @property
    def reopens(self) -> float | None:
        """Seconds until it may get work again, None where that is not known: a server that is
        away is looked at by then, and closed for as long again."""
        known = not self.drained and self.cause is not Cause.UNREACHABLE
        return self.left if known else None

    @property
    def shown(self) -> DeploymentStatus:
        """What people are told that it is."""
        quiet = self.status is DeploymentStatus.OPEN and self.drained
        return DeploymentStatus.DRAINED if quiet else self.status

    @property
    def told(self) -> str:
        """How it stands and why, for a sentence."""
        why = f": {self.reason}" if self.reason else ""
        beside = (
            ", and drained" if self.drained and self.shown is not DeploymentStatus.DRAINED else ""
        )
        return f"{self.shown}{why}{beside}"

    @property
    def down(self) -> bool:
        """Whether it is known not to work: what fails there says nothing about a request."""
        if self.status is DeploymentStatus.COOLING:
            return self.cause is not Cause.LIMITS
        return self.status in (DeploymentStatus.PROBING, DeploymentStatus.DISABLED)


class ResultStatus(StrEnum):
    """How one request ended. The last three are a terminal job's outcome by implication:
    they are written out by export and never stored as rows."""

    COMPLETED = "completed"
    FAILED = "failed"
    OUT_OF_SCOPE = "out_of_scope"
    NEEDS_CLARIFICATION = "needs_clarification"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    BUDGET_EXHAUSTED = "budget_exhausted"


class LedgerKind(StrEnum):
    """The four movements of money."""

    RESERVE = "reserve"
    SETTLE = "settle"
    RELEASE = "release"
    ADJUST = "adjust"
