"""Where a retry is decided: a failed call in, what becomes of its request out. Pure.

    final        bad_request; refused, without a list of its own; or no attempt and no candidate
                 is left; or it is the request's thousandth call
    same again   throttled (costs no attempt); overloaded, transient, unknown, malformed,
                 rejected, credential_dead, quota_dead with growing pauses, up to three attempts
                 on one candidate: by then a dead key or quota has closed its deployment
    elsewhere    too_long; refused, among its list; rejected by a check that says so; or three
                 attempts were not enough; or the same candidate has throttled it eight times
                 running, asks it to wait for more than half a minute, or took longer than the
                 request has patience
    spared       whatever cost nothing at a deployment that is known to be down: the request
                 stays where it is, with all its attempts, until dispatch finds it another
                 candidate or its own is back

What failed at a deployment that is known to be down was its probe: the request goes behind
all others that are bound there, so that a long outage takes an attempt of each in turn, and
not all of one.

Elsewhere means that this candidate is excluded: dispatch chooses among the others, by the
route's policy and on what it sees then. A request that was too long or refused goes to the
route's list for that where it has one. One budget of attempts (`Plan.max_attempts`) covers
all candidates together.
"""

import json
from dataclasses import dataclass, replace

from core.plan import REFUSED, TOO_LONG, USUAL, Plan
from core.status import ResultStatus
from core.work import Result
from providers.errors import ErrorClass, ProviderError

ATTEMPTS_PER_CANDIDATE = 3
THROTTLES_PER_CANDIDATE = 8
# Six attempts take half a minute on average: short troubles are over by then.
BASE_PAUSE, GROWTH = 0.5, 3.0
# Of 429s the limiter sees that they become few: a request that had some needs less patience. Who
# has answered is well: that the answer is no good is no reason to spare the server.
_PACES = {ErrorClass.THROTTLED: (0.25, 2.0), ErrorClass.REJECTED: (0.5, 1.0)}
LONGEST_PAUSE = 30.0
# What parks a deployment for longer is kept with the deployment, where an operator can end it.
LONGEST_DELAY = 60.0
PATIENCE = 30.0
MOST_CALLS = 1000
REFUSALS = 6
ANY = -1


@dataclass(frozen=True, slots=True)
class Tried:
    """How far a request has come: its candidate (index), attempts spent and calls made, the
    present call not counted; the candidates (bits) that have given up on it, and the list of
    the plan that it goes by."""

    candidate: int
    tries: int
    calls: int
    excluded: int = 0
    among: str = USUAL


@dataclass(frozen=True, slots=True)
class Again:
    """Call the same candidate again: attempts spent by now, seconds to wait, and why; `behind`
    all that is bound there."""

    tries: int
    delay: float
    reason: str
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Choose another candidate: those (bits) that are out, the list to choose from, attempts
    spent by now, and why."""

    excluded: int
    among: str
    tries: int
    reason: str


def decide(
    error: ProviderError,
    tried: Tried,
    plan: Plan,
    *,
    jitter: float,
    may: int = ANY,
    down: bool = False,
) -> Again | Elsewhere | Result:
    """`jitter` is a random number in [0, 1). `may` are the candidates (bits) that may be called:
    the configuration may have lost some since the plan was made, a budget may forbid them, or
    the request does not fit them. `down` says that the deployment is known not to work."""
    leaf = error.error_class
    own = _list_for(leaf, plan)
    if error.final or (leaf.final and not own):
        return failure(error)
    if tried.calls + 1 >= MOST_CALLS:
        return failure(_weary(error))
    gone = not may >> tried.candidate & 1
    if down and not error.billed and not gone:
        return Again(tried.tries, _pause(error, tried, jitter), leaf, behind=True)
    tries = tried.tries + int(leaf.spends_attempt)
    if tries >= _budget(plan, leaf):
        return failure(error)
    excluded = tried.excluded | 1 << tried.candidate
    among = own or tried.among
    others = plan.mask(among) & may & ~excluded
    leave = leaf.final or leaf.next_candidate or error.hopeless or gone
    if leave and not others:
        return failure(error)
    moves = leave or error.elsewhere or _slow(error) or _worn_out(leaf, tried, tries)
    if others and moves:
        return Elsewhere(excluded, among, tries, leaf)
    return Again(tries, _pause(error, tried, jitter), leaf, behind=down)


def _list_for(leaf: ErrorClass, plan: Plan) -> str:
    """The plan's own list for requests that failed so; empty where it has none."""
    if leaf is ErrorClass.TOO_LONG and plan.too_long:
        return TOO_LONG
    return REFUSED if leaf is ErrorClass.REFUSED and plan.refused else ""


def _budget(plan: Plan, leaf: ErrorClass) -> int:
    """Attempts that the request has. A few refusals of a key are seen before it is closed, and
    are not to end requests of short patience."""
    return max(plan.max_attempts, REFUSALS) if leaf.waits else plan.max_attempts


def _slow(error: ProviderError) -> bool:
    """Whether the provider asks for more time than another candidate needs."""
    return error.retry_after is not None and error.retry_after > PATIENCE


def _weary(error: ProviderError) -> ProviderError:
    advice = (
        f"given up after {MOST_CALLS} calls, the last of which brought: {error.message}. Give "
        "the deployment limits that its provider grants, or the route one more candidate"
    )
    return replace(error, message=advice)


def _worn_out(leaf: ErrorClass, tried: Tried, tries: int) -> bool:
    """Whether this candidate has had its share and another should try."""
    turn = tried.excluded.bit_count() + 1
    if leaf is ErrorClass.THROTTLED:
        return tried.calls + 1 - tries >= THROTTLES_PER_CANDIDATE * turn
    return tries >= ATTEMPTS_PER_CANDIDATE * turn


def _pause(error: ProviderError, tried: Tried, jitter: float) -> float:
    """Exponential backoff with full jitter
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), and no less than
    the provider asks for. What a 429 names is its line's wait and not its request's: the limiter
    keeps it, or finds that nobody need wait."""
    throttled = error.error_class is ErrorClass.THROTTLED
    base, growth = _PACES.get(error.error_class, (BASE_PAUSE, GROWTH))
    backoff = jitter * min(LONGEST_PAUSE, base * growth ** min(tried.calls, 10))
    if error.retry_after is None:
        return backoff
    if throttled:
        return min(error.retry_after, backoff)
    return min(max(error.retry_after, backoff), LONGEST_DELAY)


def failure(error: ProviderError) -> Result:
    """The failed result: an HTTP answer in OpenAI's error shape, or an error without one."""
    detail = {"code": error.code, "message": error.message}
    text = json.dumps({**detail, "class": str(error.error_class)})
    if error.status is None or error.status < 400:
        return Result(ResultStatus.FAILED, error=text)
    body = {
        "error": {
            "message": error.message,
            "type": str(error.error_class),
            "param": None,
            "code": error.code,
        }
    }
    return Result(ResultStatus.FAILED, http_status=error.status, body=json.dumps(body), error=text)
