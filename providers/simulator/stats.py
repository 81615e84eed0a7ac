"""What a simulated provider counts: calls, bills and faults, in total and per request id."""

from collections import Counter
from typing import Any

import msgspec

from core.money import usd_text
from providers.simulator.exchange import Completion


class Tally(msgspec.Struct, gc=False):
    """Per request id: calls seen, calls that got past the limits, calls billed."""

    calls: int = 0
    admitted: int = 0
    billed: int = 0


class ModelTally(msgspec.Struct, gc=False):
    """Per model: what was billed, in tokens and nano-dollars."""

    billed_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    billed_nusd: int = 0

    def add(self, other: "ModelTally") -> None:
        self.billed_calls += other.billed_calls
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.billed_nusd += other.billed_nusd


class Stats:
    """Counts of one provider since its start or the last reset."""

    def __init__(self) -> None:
        self.ids: dict[str, Tally] = {}
        self.models: dict[str, ModelTally] = {}
        self.status: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.limited: Counter[str] = Counter()

    def call(self, request_id: str) -> Tally:
        """Counts a call of this request and returns the request's tally."""
        tally = self.ids.get(request_id)
        if tally is None:
            tally = self.ids[request_id] = Tally()
        tally.calls += 1
        return tally

    def bill(self, tally: Tally, reply: Completion) -> None:
        """Books what a call costs, whether or not its reply reaches the caller."""
        tally.billed += 1
        model = self.models.get(reply.model)
        if model is None:
            model = self.models[reply.model] = ModelTally()
        model.billed_calls += 1
        model.prompt_tokens += reply.prompt_tokens
        model.completion_tokens += reply.completion_tokens
        model.billed_nusd += reply.nusd

    def add(self, other: "Stats") -> None:
        """Adds another provider's counts to these."""
        for name, tally in other.ids.items():
            mine = self.ids.setdefault(name, Tally())
            mine.calls += tally.calls
            mine.admitted += tally.admitted
            mine.billed += tally.billed
        for name, model in other.models.items():
            self.models.setdefault(name, ModelTally()).add(model)
        self.status.update(other.status)
        self.faults.update(other.faults)
        self.limited.update(other.limited)

    def report(self) -> dict[str, Any]:
        """Totals for JSON. `status` also counts `reset` and `hang`, which have no status."""
        nusd = sum(model.billed_nusd for model in self.models.values())
        return {
            "calls": sum(self.status.values()),
            "billed_calls": sum(model.billed_calls for model in self.models.values()),
            "billed_nusd": nusd,
            "billed_usd": usd_text(nusd),
            "status": dict(self.status),
            "faults": dict(self.faults),
            "limited": dict(self.limited),
            "request_ids": len(self.ids),
            "models": {name: msgspec.to_builtins(one) for name, one in self.models.items()},
        }

    def page(self, offset: int, limit: int | None) -> dict[str, dict[str, int]]:
        """Calls and billed calls by request id, in order of first call."""
        names = list(self.ids)[offset : None if limit is None else offset + limit]
        return {
            name: {"calls": self.ids[name].calls, "billed": self.ids[name].billed} for name in names
        }
