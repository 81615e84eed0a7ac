"""What a call asks of the limits, and what it gives back.

A permit is taken for the tokens that a call will probably count: its input as it was counted,
and the output that it may have or usually has, as its provider counts. What the provider says
afterwards sets it right.
"""

from collections.abc import Sequence

from core.deployment import Deployment
from core.ports import Ask, Buckets, Grant, Return
from core.status import AttemptStatus
from core.work import Entry, Settled
from providers.errors import ErrorClass
from providers.request import asked_output
from tasks.attempt import Caller
from tasks.yard import Outputs

UNCOUNTED = (ErrorClass.THROTTLED, ErrorClass.TRANSIENT)


class Permits:
    """The way to the limiter for entries of this process."""

    def __init__(self, caller: Caller, outputs: Outputs) -> None:
        self._caller = caller
        self._outputs = outputs

    def scopes(self, entry: Entry) -> tuple[Buckets, ...]:
        """Whose buckets the entry's call takes from. Entries of one scope may ask together."""
        line = self._caller.deployments[entry.chunk.deployment]
        scopes = [self._caller.health.buckets(line)]
        if line.key_buckets is not None:
            scopes.append(line.key_buckets)
        if (project := self._caller.projects.get(entry.chunk.project)) is not None:
            scopes.append(project)
        return tuple(scopes)

    async def acquire(self, entries: Sequence[Entry]) -> Grant:
        """Leave for the first of the entries, which are all of the same scopes."""
        line = self._caller.deployments[entries[0].chunk.deployment]
        for entry in entries:
            entry.asked = self._ask(line, entry)
        asks = [entry.asked for entry in entries]
        grant = await self._caller.limiter.acquire(self.scopes(entries[0]), asks)
        for entry in entries[: grant.granted]:
            entry.epoch = grant.epoch
        return grant

    def _ask(self, line: Deployment, entry: Entry) -> Ask:
        if line.counts_asked:
            return Ask(entry.tokens, asked_output(entry.body, entry.chunk.plan.max_output))
        return Ask(entry.tokens, self._outputs.expected(line.name))

    def give_back(self, entry: Entry, settled: Settled | None) -> None:
        """The entry's call has ended; None where it broke down."""
        self._caller.limiter.give_back(self.scopes(entry), self._back(entry, settled))

    def _back(self, entry: Entry, settled: Settled | None) -> Return:
        if settled is None:
            return Return(calls=1)
        asked, usage = entry.asked, settled.usage
        answered = settled.latency_ms if settled.status is AttemptStatus.OK else None
        if usage is None:
            if settled.error_class in UNCOUNTED:
                return Return(calls=1, input=asked.input, output=asked.output)
            return Return(calls=1, latency_ms=answered)
        line = self._caller.deployments[entry.chunk.deployment]
        self._outputs.saw(line.name, usage.output_tokens)
        return Return(
            calls=1,
            input=asked.input - usage.input_tokens,
            output=0 if line.counts_asked else asked.output - usage.output_tokens,
            latency_ms=answered,
        )
