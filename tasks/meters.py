"""What a process counts about its own work: plain numbers that `workers/telemetry` exports.

The hot path pays for one pass over a commit's calls and nothing else, so there are no locks and
no library here, except where Celery's threads write. Written by the process' loop, read by whoever
scrapes: a reader copies, and may be one commit behind.
"""

import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from core.brake import Brake, Limit
from core.status import AttemptStatus
from core.work import Batch, Entry, Settled

# Seconds: a statement, a transaction; and a slice or a step.
QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LONG = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0)
CALLS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
# The bounds that OpenTelemetry's GenAI conventions ask for; the first in milliseconds.
LATENCY_MS = tuple(10 * 2**n for n in range(14))
TOKENS = tuple(4**n for n in range(14))

OK = AttemptStatus.OK
UNKNOWN = AttemptStatus.UNKNOWN
# How a request ends that its route's intents keep from being called.
UNCALLED = ("out_of_scope", "needs_clarification")


class Histogram:
    """How many values were at most each of the bounds, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Adds the seconds that the block took, however it ended."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(time.perf_counter() - began)


class DeploymentMeters:
    """What became of the calls to one deployment. Costs in nano-dollars: `cost` is what
    providers reported usage for, `cost_bound` what was booked at its bound because nobody
    knows better, `unbooked` what was reported beyond the bound of the calls `above_bound`.
    `failed` counts by (status, error class)."""

    __slots__ = (
        "above_bound", "cached_tokens", "cost", "cost_bound", "escalations", "failed",
        "failed_latency", "fallbacks", "input_tokens", "late", "latency", "output_tokens",
        "reasoning_tokens", "retries", "unbooked", "unpriced", "zero_cost",
    )  # fmt: skip

    def __init__(self) -> None:
        self.latency = Histogram(LATENCY_MS)
        self.failed: Counter[tuple[str, str]] = Counter()
        self.failed_latency: defaultdict[str, Histogram] = defaultdict(
            lambda: Histogram(LATENCY_MS)
        )
        self.input_tokens = Histogram(TOKENS)
        self.output_tokens = Histogram(TOKENS)
        self.cached_tokens = self.reasoning_tokens = 0
        self.cost = self.cost_bound = self.unpriced = self.zero_cost = 0
        self.above_bound = self.unbooked = 0
        self.retries = self.fallbacks = self.escalations = self.late = 0

    def add(self, settled: Settled) -> None:
        """One call's end, recorded."""
        usage, cost = settled.usage, settled.cost_nusd
        if settled.status is OK:
            self.latency.add(settled.latency_ms)
            self.zero_cost += cost == 0
        else:
            self._add_failed(settled)
        if usage is not None:
            self.input_tokens.add(usage.input_tokens)
            self.output_tokens.add(usage.output_tokens)
            self.cached_tokens += usage.cached_tokens
            self.reasoning_tokens += usage.reasoning_tokens
        if settled.unbooked_nusd is not None:
            self.above_bound += 1
            self.unbooked += settled.unbooked_nusd
        if cost is None:
            self.unpriced += 1
        elif usage is None:
            self.cost_bound += cost
        else:
            self.cost += cost

    def _add_failed(self, settled: Settled) -> None:
        leaf = settled.error_class or "unknown"
        self.failed[settled.status.value, leaf] += 1
        self.failed_latency[leaf].add(settled.latency_ms)


class RouterMeters:
    """What the route and score steps of a process found: requests that ended without a call, by
    route and status; answers that were scored and the sum of their scores, by scorer and
    deployment."""

    scorers = ("choice", "exact")

    def __init__(self) -> None:
        self.uncalled: Counter[tuple[str, str]] = Counter()
        self.scored: Counter[tuple[str, str]] = Counter()
        self.points: defaultdict[tuple[str, str], float] = defaultdict(float)

    def add_score(self, scorer: str, deployment: str, value: float) -> None:
        """One answer's score, 0 to 1."""
        self.scored[scorer, deployment] += 1
        self.points[scorer, deployment] += value


@dataclass(slots=True)
class Braked:
    """How long calls waited for a limit altogether (seconds), the limit in force, and until
    when (by `time.monotonic`) there is no permit."""

    seconds: float = 0.0
    most: float = 0.0
    until: float = 0.0


class Meters:
    """Everything that one process counts."""

    def __init__(self) -> None:
        self.deployments: defaultdict[str, DeploymentMeters] = defaultdict(DeploymentMeters)
        self.flying: Counter[str] = Counter()
        self.pauses: Counter[str] = Counter()
        # By deployment and cause: how often this process closed one.
        self.closings: Counter[tuple[str, str]] = Counter()
        self.pause_seconds: defaultdict[str, float] = defaultdict(float)
        # By deployment, scope and limit.
        self.brakes: defaultdict[tuple[str, str, Limit], Braked] = defaultdict(Braked)
        self.claims = Histogram(QUICK)
        self.claimed = 0
        self.windows = Histogram(QUICK)
        self.commits = Histogram(QUICK)
        self.commit_calls = Histogram(CALLS)
        self.commit_troubles = Counter({"interrupted": 0, "refused": 0})
        self.slices: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(LONG))
        self.steps: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(LONG))
        self.step_failures: Counter[str] = Counter()
        self.bells: Counter[str] = Counter()
        self.router = RouterMeters()
        self._lock = threading.Lock()

    def of(self, deployment: str) -> DeploymentMeters:
        """A deployment's own, from zero where it has none yet."""
        return self.deployments[deployment]

    @contextmanager
    def stepping(self, step: str, provider: str) -> Iterator[None]:
        """Times a step, the slices of `call` by provider. From any thread."""
        began, failed = time.perf_counter(), True
        try:
            yield
            failed = False
        finally:
            seconds = time.perf_counter() - began
            with self._lock:
                (self.slices[provider] if provider else self.steps[step]).add(seconds)
                self.step_failures[step] += failed

    def rang(self, step: str) -> None:
        """This process asked for a step. From any thread."""
        with self._lock:
            self.bells[step] += 1

    def committed(self, batch: Batch, stale: set[int], seconds: float) -> None:
        """A batch was recorded; `stale` are the ids of chunks that were no longer ours."""
        self.commits.add(seconds)
        self.commit_calls.add(len(batch.settled))
        for settled in batch.settled:
            chunk = settled.entry.chunk
            meters = self.of(chunk.deployment)
            if chunk.id in stale:
                meters.late += 1
            else:
                meters.add(settled)
                self._came(settled.entry)

    def wrote_off(self, settled: Iterable[Settled]) -> None:
        """Calls that nobody knows the end of were written down by the sweep."""
        for one in settled:
            self.of(one.entry.chunk.deployment).add(one)
            self._came(one.entry)

    def _came(self, entry: Entry) -> None:
        """Where the call before ended, as `db/tally.py` counts it."""
        if (came := entry.came) is not None:
            left = self.of(entry.chunk.last_called)
            left.retries += came == "retry"
            left.fallbacks += came == "fallback"
            left.escalations += came == "escalation"

    def paused(self, deployment: str, seconds: float) -> None:
        """A deployment asked for a pause."""
        self.pauses[deployment] += 1
        self.pause_seconds[deployment] += seconds

    def braked(self, deployment: str, brake: Brake, waited: float, *, ahead: float = 0.0) -> None:
        """Calls to a deployment waited for a limit, or would have to for seconds to come."""
        one = self.brakes[deployment, brake.scope, brake.what]
        one.seconds += waited
        one.most = brake.most
        one.until = max(one.until, time.monotonic() + ahead)
