"""What a call asks of the limits, and what it gives back.

A permit is taken for the tokens that a call will probably count: its input as it was counted,
and the output that it may have or usually has, as its provider counts. What the provider says
afterwards sets it right.
"""

import math
from collections.abc import Sequence

from core.ports import Ask, Buckets, Grant, Return
from core.status import AttemptStatus
from core.work import Entry, Settled
from providers.errors import ErrorClass
from tasks.calls.attempt import Caller

USUAL_OUTPUT = 128
UNCOUNTED = (ErrorClass.THROTTLED, ErrorClass.TRANSIENT)


class Permits:
    """The way to the limiter for calls to one deployment for one project; `express` ones may
    take the share that is kept from others.

    How many output tokens an answer lately brought is an exponentially weighted mean.
    """

    def __init__(
        self, caller: Caller, deployment: str, project: str, *, express: bool = False
    ) -> None:
        self._express = express
        self._caller = caller
        self._line = caller.deployments[deployment]
        shared = (self._line.key_buckets, caller.projects.get(project))
        self._shared = tuple(buckets for buckets in shared if buckets is not None)
        self._output: float | None = None

    def _scopes(self) -> tuple[Buckets, ...]:
        """Whose buckets a call takes from; the line's own are fewer while it is being probed."""
        return (self._caller.health.buckets(self._line), *self._shared)

    async def acquire(self, entries: Sequence[Entry]) -> Grant:
        """Leave for the first of the entries."""
        for entry in entries:
            entry.asked = self._ask(entry)
        asks = [entry.asked for entry in entries]
        grant = await self._caller.limiter.acquire(self._scopes(), asks, express=self._express)
        for entry in entries[: grant.granted]:
            entry.epoch, entry.probe = grant.epoch, grant.probe
        return grant

    def _ask(self, entry: Entry) -> Ask:
        if self._line.counts_asked:
            return Ask(entry.tokens, entry.chunk.outputs[entry.index])
        usual = USUAL_OUTPUT if self._output is None else self._output
        return Ask(entry.tokens, math.ceil(usual))

    def give_back(self, entry: Entry, settled: Settled | None) -> None:
        """The entry's call has ended; None where it broke down."""
        self._caller.limiter.give_back(self._scopes(), self._back(entry, settled))

    def _back(self, entry: Entry, settled: Settled | None) -> Return:
        if settled is None:
            return Return(calls=1)
        asked, usage = entry.asked, settled.usage
        answered = settled.latency_ms if settled.status is AttemptStatus.OK else None
        if usage is None:
            if settled.error_class in UNCOUNTED:
                return Return(calls=1, input=asked.input, output=asked.output)
            return Return(calls=1, latency_ms=answered)
        mean = usage.output_tokens if self._output is None else self._output
        self._output = mean + (usage.output_tokens - mean) / 32
        return Return(
            calls=1,
            input=asked.input - usage.input_tokens,
            output=0 if self._line.counts_asked else asked.output - usage.output_tokens,
            latency_ms=answered,
        )
