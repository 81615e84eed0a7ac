"""A cascade's step: an answer in, and it is the result, or the next candidate is asked.

Every step is a paid call like any other. An answer that is not enough is kept (`replies`), in the
transaction that moves its request on; it may still become the result: where it turns out to be
likelier right than the next one, or where nobody else can be asked.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from core.cascade import Cascade
from core.plan import USUAL, indexes
from core.ports import Scorer
from core.settings import configured_name
from core.status import DeploymentStatus, ResultStatus
from core.work import Entry, Kept, Move, Result, Settled
from providers.adapters.completion import read_answers
from providers.errors import ErrorClass, ProviderError
from routing.cascade import Verdict, above, agreed, weighed
from routing.prompt_text import text_of
from tasks.health import Health

ESCALATED = "escalated"
LAST = "the last candidate"
NOBODY = "no later candidate can be called"


@dataclass(frozen=True, slots=True)
class _Judged:
    """A verdict, with the answers as they are kept: with their scores."""

    verdict: Verdict
    answers: tuple[Kept, ...]


def cascade_of(entry: Entry) -> Cascade | None:
    """What judges answers to the entry before they count; None where nothing does."""
    return entry.chunk.plan.cascade if entry.chunk.among == USUAL else None


def is_step(entry: Entry, rejected: ProviderError) -> bool:
    """Whether an answer that did not pass a check is one that escalates: in a cascade by checks,
    where the check asks for the next candidate."""
    cascade = cascade_of(entry)
    rejects = rejected.error_class is ErrorClass.REJECTED and rejected.hopeless
    return rejects and cascade is not None and cascade.accept == "checks"


async def step(
    scorer: Scorer | None,
    health: Health,
    cascade: Cascade,
    settled: Settled,
    bounds: Mapping[int, int],
    flaw: str = "",
) -> Settled:
    """An answered call of a cascade, as its result or as its way to the next candidate. `bounds`
    are those of the candidates (by index) that may be called; `flaw` is what a check found."""
    entry, chunk = settled.entry, settled.entry.chunk
    later = above(chunk.plan, chunk.candidate)
    body = (settled.result and settled.result.body) or ""
    answers = (*entry.replies, Kept(entry.n, chunk.deployment, body))
    if not later:
        return _ended(settled, answers, Verdict(True, len(answers) - 1, LAST))
    able = later & ~chunk.excluded & _callable(entry, bounds, health)
    judged = await _judge(scorer, cascade, entry, answers, flaw)
    verdict, answers = judged.verdict, judged.answers
    if verdict.accepted:
        return _ended(settled, answers, verdict)
    if not able:
        told = Verdict(False, verdict.best, f"{verdict.why}; {NOBODY}")
        return _ended(settled, answers, told)
    first = next(indexes(able))
    settled.result = None
    settled.kept = answers[-1]
    settled.error = f"{ESCALATED}: {verdict.why}"
    settled.move = Move(
        first,
        chunk.plan.candidates[first],
        chunk.tries[entry.index],
        bounds[first],
        0.0,
        ESCALATED,
        # All below what is above: nothing goes down again.
        chunk.excluded | chunk.plan.mask() & ~later & ((1 << chunk.plan.own) - 1),
        chunk.among,
    )
    return settled


def instead(entry: Entry, failed: Result) -> Result:
    """The best earlier answer of a request whose last call failed; the failure where it has
    none."""
    if not entry.replies or failed.status is not ResultStatus.FAILED:
        return failed
    return earlier(entry.replies, len(entry.replies), failed_why(failed))


def failed_why(failed: Result) -> str:
    """Why an earlier answer has to do, from the result that would have been."""
    found = json.loads(failed.error or "{}")
    return f"the next candidate failed ({found.get('class') or found.get('code')})"


def earlier(replies: Sequence[Kept], steps: int, why: str) -> Result:
    """The best of the answers as a result: the likeliest, without probabilities the last."""
    best = max(replies, key=lambda one: (-1.0 if one.score is None else one.score, one.n))
    told = _told(replies.index(best), steps, best.score, accepted=False, why=why)
    return Result(ResultStatus.COMPLETED, http_status=200, body=best.body, of=best, step=told)


def _ended(settled: Settled, answers: tuple[Kept, ...], verdict: Verdict) -> Settled:
    """The call with the answer that counts as its result."""
    best = answers[verdict.best]
    told = _told(verdict.best, len(answers), best.score, accepted=verdict.accepted, why=verdict.why)
    if verdict.best == len(answers) - 1 and settled.result is not None:
        settled.result = msgspec.structs.replace(settled.result, step=told)
        return settled
    settled.kept = answers[-1]
    settled.result = Result(
        ResultStatus.COMPLETED, http_status=200, body=best.body, of=best, step=told
    )
    return settled


def _told(index: int, steps: int, score: float | None, *, accepted: bool, why: str) -> str:
    told = {"step": index + 1, "steps": steps, "accepted": accepted, "why": why}
    if score is not None:
        told["score"] = round(score, 4)
    return json.dumps(told)


def _callable(entry: Entry, bounds: Mapping[int, int], health: Health) -> int:
    """The candidates (bits) that may be called and are not disabled."""
    names = entry.chunk.plan.candidates
    return sum(
        1 << index
        for index in bounds
        if health.condition(names[index]).status is not DeploymentStatus.DISABLED
    )


async def _judge(
    scorer: Scorer | None, cascade: Cascade, entry: Entry, answers: tuple[Kept, ...], flaw: str
) -> _Judged:
    last = len(answers) - 1
    if cascade.accept == "checks":
        return _Judged(Verdict(not flaw, last, flaw or "passed its checks"), answers)
    texts = [_text(one.body) for one in answers]
    if cascade.accept == "agreement":
        return _Judged(agreed(cascade, texts), answers)
    if len(answers) < cascade.ask:
        return _Judged(Verdict(False, last, f"{len(answers)} of {cascade.ask} asked"), answers)
    return await _scored(scorer, entry, cascade, answers, texts)


async def _scored(
    scorer: Scorer | None,
    entry: Entry,
    cascade: Cascade,
    answers: tuple[Kept, ...],
    texts: list[str],
) -> _Judged:
    """What nothing can score is not enough."""
    prompt = text_of(entry.body).text
    names = [configured_name(one.deployment) for one in answers]
    said = dict(zip(names, texts, strict=True))
    told = None if scorer is None else await scorer.score(cascade.model, prompt, said)
    if told is None:
        return _Judged(Verdict(False, len(answers) - 1, "nothing could score it"), answers)
    scores = [told.likely.get(name) for name in names]
    kept = tuple(
        msgspec.structs.replace(one, score=score)
        for one, score in zip(answers, scores, strict=True)
    )
    return _Judged(weighed(cascade, scores, told), kept)


def _text(body: str) -> str:
    """The text of an answer's first choice; empty where it calls tools."""
    try:
        found = read_answers(body.encode())
    except msgspec.DecodeError:
        return ""
    if not found:
        return ""
    text, calls_tools, _ = found[0]
    return "" if calls_tools else text
