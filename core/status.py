"""The closed sets of states, with their transitions.

    job      validating ─► in_progress ─► finalizing ─► completed
                 │             │  └──── stop ────────► cancelling ─► cancelled
                 └► failed     └──── stop ────────► expired · budget_exhausted

    chunk    planned ─► ready ─► leased ─► done
                          ▲        │ └──► (entries move to a new chunk: waiting ─► leased)
                          └────────┘ given back, or its process died

    attempt  ok · error · unknown ─► late · resolved   (the one change that is allowed)

`budget_exhausted` is batchyard's own word beside the OpenAI Batch API's statuses.
"""

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


class ChunkStatus(StrEnum):
    """Where requests that travel together stand."""

    PLANNED = "planned"
    READY = "ready"
    LEASED = "leased"
    WAITING = "waiting"
    SUBMITTED = "submitted"
    DONE = "done"


class ChunkKind(StrEnum):
    """Whether a chunk waits for its plans or for its calls."""

    ROUTE = "route"
    CALL = "call"


class AttemptStatus(StrEnum):
    """What is known of one call."""

    OK = "ok"
    ERROR = "error"
    UNKNOWN = "unknown"
    LATE = "late"
    RESOLVED = "resolved"


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
