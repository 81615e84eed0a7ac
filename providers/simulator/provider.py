"""One simulated provider: decides what happens to a call, neutral to wire format and sockets."""

import hmac
from enum import Enum

import msgspec

from providers.simulator.answers import Answerer, Key, load_key, spoiled
from providers.simulator.exchange import (
    NO_LEVELS,
    Ask,
    Completion,
    Levels,
    Problem,
    ProblemKind,
)
from providers.simulator.faults import Draw, FaultDice
from providers.simulator.limits import Limiter
from providers.simulator.profile import ANY_MODEL, Model, Profile
from providers.simulator.stats import Stats, Tally


class Ending(Enum):
    """How a call ends on the wire."""

    REPLY = "reply"
    MALFORMED = "malformed"
    RESET = "reset"
    HANG = "hang"


_INJECTED = {"500": ProblemKind.SERVER_ERROR, "refused": ProblemKind.FILTERED}
_ENDINGS = {"malformed": Ending.MALFORMED, "reset": Ending.RESET, "hang": Ending.HANG}


class Outcome(msgspec.Struct):
    """What becomes of a call: a problem, or a completion after `delay_s` seconds.

    While `is_open` it counts as in flight; `Provider.finish` or `abandon` closes it.
    """

    ending: Ending
    token: str
    is_open: bool = False
    delay_s: float = 0.0
    problem: Problem | None = None
    completion: Completion | None = None
    limiter: Limiter | None = None
    levels: Levels = NO_LEVELS
    stats: Stats | None = None
    tally: Tally | None = None


class OpenCalls:
    """Calls being answered now, and the most there ever were at once."""

    __slots__ = ("now", "peak")

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0

    def enter(self) -> None:
        self.now += 1
        if self.now > self.peak:
            self.peak = self.now

    def leave(self) -> None:
        self.now -= 1


class Provider:
    """State of one simulated provider. `now` is always monotonic seconds from the caller."""

    def __init__(self, name: str, profile: Profile, now: float, everyone: OpenCalls) -> None:
        self.name = name
        self.open_calls = OpenCalls()
        self._everyone = everyone
        self._serial = 0
        self._apply(profile, load_key(profile), now)
        self.stats = Stats()
        self._limiters = self._new_limiters(now)

    def _apply(self, profile: Profile, key: Key, now: float) -> None:
        self.profile = profile
        self.began = now
        self._key = key
        self._answerer = Answerer(self.name, profile, key)
        self._dice = FaultDice(profile.seed, self.name, profile.faults, profile.latency)

    def _new_limiters(self, now: float) -> dict[str, Limiter]:
        """Limiters by model; models without limits of their own share the provider's."""
        shared = Limiter(self.profile.limits, now)
        models = self.profile.models
        return {
            name: Limiter(one.limits, now) if one.limits else shared for name, one in models.items()
        }

    def configure(self, profile: Profile, now: float) -> None:
        """Takes a new profile and begins the faults clock again; full buckets if limits changed.

        Calls already under way end as decided. Raises ConfigError for a bad key file.
        """
        old = self.profile
        moved = (old.key_file, old.answers) != (profile.key_file, profile.answers)
        self._apply(profile, load_key(profile) if moved else self._key, now)
        before = (old.limits, {name: one.limits for name, one in old.models.items()})
        after = (profile.limits, {name: one.limits for name, one in profile.models.items()})
        if before != after:
            self._limiters = self._new_limiters(now)

    def reset(self, now: float) -> None:
        """New stats and a new faults clock; calls under way are booked into the old stats."""
        self.stats = Stats()
        self.began = now
        self.open_calls.peak = self.open_calls.now

    def check_credential(self, sent: str | None) -> Problem | None:
        """The problem with the key that was sent, if any."""
        expected = self.profile.credentials
        if self.profile.credential is None:
            return None
        if sent is None:
            return Problem(ProblemKind.NO_CREDENTIAL)
        if any(hmac.compare_digest(sent.encode(), one.encode()) for one in expected):
            return None
        return Problem(ProblemKind.WRONG_CREDENTIAL, sent)

    def _model(self, name: str) -> Model | None:
        models = self.profile.models
        return models.get(name) or models.get(ANY_MODEL)

    def next_token(self) -> str:
        """A request id for a reply that no draw names."""
        self._serial += 1
        return f"{self._serial:032x}"

    def decide(self, ask: Ask, sent_credential: str | None, now: float) -> Outcome:
        """What becomes of a call that could be read. Opens the call unless it is refused."""
        stats = self.stats
        tally = stats.call(ask.request_id)
        model = self._model(ask.model)
        problem = self.check_credential(sent_credential)
        if problem is None and model is None:
            problem = Problem(ProblemKind.UNKNOWN_MODEL)
        if problem is not None or model is None:
            return Outcome(Ending.REPLY, self.next_token(), problem=problem)
        prompt = self._answerer.prompt_tokens(ask, model)
        problem = self._refusal(ask, model, prompt)
        if problem is not None:
            return Outcome(Ending.REPLY, self.next_token(), problem=problem)
        outage = self._dice.outage(now - self.began)
        if outage is not None:
            return self._outage(outage.kind, stats)
        limiter = self._limiters.get(ask.model) or self._limiters[ANY_MODEL]
        output = ask.max_tokens or model.output_tokens + model.reasoning_tokens
        over = limiter.admit(prompt + output * ask.choices, now)
        levels = _levels(limiter)
        if over is not None:
            stats.limited[over.kind] += 1
            problem = Problem(ProblemKind.OVER_LIMIT, over=over, retry_after_s=over.wait_s)
            return Outcome(Ending.REPLY, self.next_token(), problem=problem, levels=levels)
        outcome = Outcome(
            Ending.REPLY, "", limiter=limiter, levels=levels, stats=stats, tally=tally
        )
        self._draw(outcome, tally, ask, model, prompt)
        if outcome.completion is not None:
            outcome.delay_s += limiter.queue(outcome.delay_s, now)
        return self._opened(outcome)

    def _refusal(self, ask: Ask, model: Model, prompt: int) -> Problem | None:
        wanted = prompt + (ask.max_tokens or 0)
        if wanted > model.context:
            return Problem(ProblemKind.CONTEXT_LENGTH, requested=wanted, allowed=model.context)
        if not self.profile.insufficient_quota:
            return None
        return Problem(ProblemKind.NO_QUOTA, retry_after_s=self.profile.quota_reset_s)

    def _outage(self, kind: str, stats: Stats) -> Outcome:
        stats.faults["outage"] += 1
        ending = _ENDINGS.get(kind, Ending.REPLY)
        problem = Problem(ProblemKind.UNAVAILABLE) if ending is Ending.REPLY else None
        outcome = Outcome(ending, self.next_token(), problem=problem)
        return self._opened(outcome) if ending is Ending.HANG else outcome

    def _draw(self, outcome: Outcome, tally: Tally, ask: Ask, model: Model, prompt: int) -> None:
        """Fills in what the dice say of a call that is within its limits."""
        tally.admitted += 1
        if self._dice.chancy:
            draw = self._dice.roll(ask.request_id, tally.admitted)
        else:
            draw = Draw("", True, 0.0, self.next_token())
        outcome.token = draw.token
        if draw.kind:
            outcome.problem = self._injected(draw.kind)
            outcome.ending = _ENDINGS.get(draw.kind, Ending.REPLY)
            unseen = draw.billed and outcome.ending in (Ending.RESET, Ending.HANG)
            self.stats.faults[f"{draw.kind}_billed" if unseen else draw.kind] += 1
        if outcome.problem is None and draw.billed:
            reply = self._answerer.complete(ask, model, prompt, draw.token)
            reply = spoiled(reply, draw.kind, self.profile.faults.overstated_by)
            outcome.completion = reply
            outcome.delay_s = self._dice.latency_s(draw, reply.completion_tokens)

    def _opened(self, outcome: Outcome) -> Outcome:
        outcome.is_open = True
        self.open_calls.enter()
        self._everyone.enter()
        return outcome

    def finish(self, outcome: Outcome) -> None:
        """Bills what a call costs and closes it. Billed even if the caller has gone by then."""
        self.bill(outcome)
        self.abandon(outcome)

    def bill(self, outcome: Outcome) -> None:
        reply, stats, tally = outcome.completion, outcome.stats, outcome.tally
        if reply is not None and stats is not None and tally is not None:
            stats.bill(tally, reply)

    def abandon(self, outcome: Outcome) -> None:
        """Closes a call without a bill. Harmless for a call that is not open."""
        if not outcome.is_open:
            return
        outcome.is_open = False
        self.open_calls.leave()
        self._everyone.leave()
        if outcome.limiter is not None:
            outcome.limiter.release()

    def _injected(self, kind: str) -> Problem | None:
        wait_ms = self.profile.faults.retry_after_ms
        wait = None if wait_ms is None else wait_ms / 1000.0
        if kind == "429":
            return Problem(ProblemKind.THROTTLED, retry_after_s=wait)
        if kind == "503":
            return Problem(ProblemKind.UNAVAILABLE, retry_after_s=wait)
        return Problem(_INJECTED[kind]) if kind in _INJECTED else None


def _levels(limiter: Limiter) -> Levels:
    requests, tokens = limiter.requests, limiter.tokens
    if not limiter.limits.told or (requests is None and tokens is None):
        return NO_LEVELS
    return Levels(
        requests.gauge() if requests is not None else None,
        tokens.gauge() if tokens is not None else None,
    )
