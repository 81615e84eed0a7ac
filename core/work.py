"""Work in hand: the chunks a lane has leased, and what became of their entries."""

from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from core.deployment import Usage
from core.ids import DEFAULT_PROJECT
from core.plan import USUAL, Plan
from core.ports import Ask
from core.size import Size
from core.status import AttemptStatus, ResultStatus

NOTHING_ASKED: Final = Ask()
Way = Literal["retry", "fallback", "escalation"]


@dataclass(slots=True, eq=False)
class LeasedChunk:
    """A chunk under this process' lease. The lists run in step, entry by entry; `text_bytes`,
    `overheads` and `outputs` are the fields of `Size`.

    `escalated` says that its requests have answers already, of earlier steps of a cascade.
    `excluded` are the candidates (bits) that have given up on its requests, `among` the list
    of its plan that the others are chosen from. `bounds` hold for its candidate. `turn` is its
    place among its deployment's chunks; an `express` one may take the share of the limits that is
    kept from others. `sent` is the cursor as the database has it; `open`
    counts the entries before it that have not been settled yet; `ended` says that nothing after
    it will be sent under this lease (given back, or its job stopped). `came_from` is the candidate
    of its requests' last calls, None before the first.
    """

    id: int
    fence: int
    job_id: int
    part: int
    round: int
    plan_id: int
    plan: Plan
    candidate: int
    deployment: str
    seqs: list[int]
    tries: list[int]
    calls: list[int]
    tokens: list[int]
    text_bytes: list[int]
    overheads: list[int]
    outputs: list[int]
    bounds: list[int]
    accounts: tuple[int, int]
    limited: bool
    project: str = DEFAULT_PROJECT
    turn: float = 0.0
    express: bool = False
    escalated: bool = False
    excluded: int = 0
    among: str = USUAL
    came_from: int | None = None
    sent: int = 0
    open: int = 0
    ended: bool = False

    @property
    def size(self) -> int:
        return len(self.seqs)

    def size_of(self, index: int) -> Size:
        """What bounds the cost of an entry."""
        return Size(
            self.tokens[index], self.text_bytes[index], self.overheads[index], self.outputs[index]
        )

    @property
    def last_called(self) -> str:
        """The deployment of its requests' last calls; empty before the first."""
        return "" if self.came_from is None else self.plan.candidates[self.came_from]

    @property
    def done(self) -> bool:
        """Nothing in flight and nothing left to send: the commit may close it."""
        return self.open == 0 and (self.ended or self.sent == self.size)


class Kept(msgspec.Struct, frozen=True, gc=False):
    """An answer that did not become its request's result at once: call `n`, to this deployment,
    brought `body` (JSON). `score` is the probability that it is right, where one was told."""

    n: int
    deployment: str
    body: str
    score: float | None = None


@dataclass(slots=True, eq=False)
class Entry:
    """One request of a leased chunk, with what is sent. `body` is JSON without its model;
    `replies` are its answers of earlier steps of a cascade, in their order; `asked` are the
    tokens that its permit was taken for, in which `epoch` of the limits; a `probe` has one
    although its line is paused."""

    chunk: LeasedChunk
    index: int
    body: bytes
    replies: tuple[Kept, ...] = ()
    asked: Ask = NOTHING_ASKED
    epoch: int = 0
    probe: bool = False

    @property
    def seq(self) -> int:
        return self.chunk.seqs[self.index]

    @property
    def bound(self) -> int:
        return self.chunk.bounds[self.index]

    @property
    def tokens(self) -> int:
        return self.chunk.tokens[self.index]

    @property
    def n(self) -> int:
        """The number of this call among the request's calls, from 1."""
        return self.chunk.calls[self.index] + 1

    @property
    def came(self) -> Way | None:
        """What this call is, seen from the one before it; None for a first one."""
        last = self.chunk.last_called
        if not last:
            return None
        if self.replies and self.replies[-1].n == self.n - 1:
            return "escalation"
        return "retry" if last == self.chunk.deployment else "fallback"


class Result(msgspec.Struct, frozen=True, gc=False):
    """The final, write-once outcome of a request. `body` and `error` are JSON texts. `of` is
    the earlier answer of a cascade that it is, where it is not the call's own; `step` tells
    (JSON) which step of the cascade answered, and why that was enough."""

    status: ResultStatus
    http_status: int | None = None
    request_id: str | None = None
    body: str | None = None
    error: str | None = None
    of: Kept | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """The entry goes on in another chunk: a retry, a fallback or an escalation.

    A retry is due on the same candidate after `delay` seconds from the commit, before what has
    not been called yet, or `behind` all that is bound there. The others are
    planned: `candidate` is only the first of those that dispatch may choose from, and the one
    that `bound` holds for.
    """

    candidate: int
    deployment: str
    tries: int
    bound: int
    delay: float
    reason: str
    excluded: int = 0
    among: str = USUAL
    behind: bool = False


@dataclass(slots=True, eq=False)
class Settled:
    """One call's end: the attempt's row, and either its result or where it goes next. `kept` is
    its answer, where that is not the result (yet): the request escalates. `unbooked_nusd` is what
    its provider reported beyond the cost, where that was above the bound."""

    entry: Entry
    status: AttemptStatus
    latency_ms: int
    cost_nusd: int | None
    usage: Usage | None = None
    http_status: int | None = None
    error_class: str | None = None
    error: str | None = None
    result: Result | None = None
    move: Move | None = None
    kept: Kept | None = None
    unbooked_nusd: int | None = None


@dataclass(slots=True, eq=False)
class Window:
    """The intent to send the next `size` entries of a chunk: money and cursor in one.

    After the commit `granted` says how many may be sent; `stopped` that the job takes no
    more, `paused` that it takes none now, `short` that its budget has no room just now. Where its
    budget will have none, `dear` says that the answers of earlier steps have to do, `replan` that
    its job is decided as a whole: another candidate may have room, or another request.
    """

    chunk: LeasedChunk
    size: int
    granted: int = 0
    stopped: bool = False
    paused: bool = False
    short: bool = False
    dear: bool = False
    replan: bool = False


@dataclass(slots=True, eq=False)
class GiveBack:
    """The unsent rest of a chunk goes back to the yard, due after `delay` seconds.

    `unsent` entries at the end of what was intended were never sent after all: the cursor
    goes back by as many and their money is released. With `drop` the rest is not put back
    (the job was stopped); with `settle` neither: its requests' best earlier answers become
    their results, for the reason that stands in `reason`. With `replan` it waits for the next
    wave of its job, and is not for the chunk's candidate any more.
    """

    chunk: LeasedChunk
    unsent: int = 0
    delay: float = 0.0
    reason: str = ""
    drop: bool = False
    settle: bool = False
    replan: bool = False


@dataclass(slots=True, eq=False)
class Batch:
    """Everything one commit records."""

    settled: list[Settled] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    back: list[GiveBack] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.settled or self.windows or self.back)

    def chunks(self) -> dict[int, LeasedChunk]:
        items = (
            *(settled.entry.chunk for settled in self.settled),
            *(window.chunk for window in self.windows),
            *(back.chunk for back in self.back),
        )
        return {chunk.id: chunk for chunk in items}
