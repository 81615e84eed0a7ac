"""What can go wrong with a provider, and what follows from it.

    ProviderError
    ├── throttled        429, slow_down               pause the deployment, then the same candidate
    │                                                 again; costs the request no attempt
    ├── overloaded       408 409 424 425 498 500 502  back off, at least Retry-After; then the
    │                    503 504 529                  next candidate; opens the breaker
    ├── transient        could not connect,           as overloaded; nothing was sent, so nothing
    │                    reset before the body went   can have been billed
    ├── unknown          read timeout, reset after    as overloaded; the charge stays booked as
    │                    sending                      unknown
    ├── credential_dead  401 402 403; a model or an   close what the key opens, or this model alone,
    │                    address that is not there    and tell the operator; others do the work
    │                    (404 405, redirects; a 400
    │                    that says so of the model)
    ├── quota_dead       insufficient_quota,          park the deployment until its reset; others
    │                    a spend limit, a daily one   do the work
    ├── too_long         context_length_exceeded      the next candidate
    ├── refused          content_filter, refusal      final: a failed result of this class, with
    │                                                 the provider's code
    ├── bad_request      400 413 422, any other 404   final for this request; others unaffected
    ├── malformed        a success without sense;     as overloaded; most likely billed
    │                    a 400 for what the model
    │                    itself wrote
    └── rejected         an answer that does not      as its route's check says: as overloaded,
                         pass its route's checks      the next candidate, or final; billed

Where a class asks for the next candidate and there is none, the request fails with that class
and the provider's message. A dead key or quota is no fault of the request: it stays where it is
until dispatch finds it another candidate, or an operator comes. `tasks/calls/decide.py` has the
numbers, `tasks/breaker.py` says when a deployment is closed. An answer that refuses with a
success (HTTP 200) is an answer: its request is completed.

A wait that the provider names (Retry-After, on any status) is kept, however long: the deployment
is parked, not the request failed. The provider's own word on trying again (`x-should-retry`)
goes before the table, where it is not about limits or keys.

Read in the order: status, then code or type, text last, because texts change between
versions of a server and codes seldom do. These are values and not exceptions: a bulk run
meets them by the thousand. The one exception is TransportError, raised by a transport.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from core.deployment import Usage
from core.errors import BatchyardError
from providers.error_body import ErrorBody, read_error_body
from providers.error_words import (
    ADDRESS_CODES,
    ADDRESS_TEXT,
    GONE_CODES,
    GONE_TEXT,
    KEY_CODES,
    KEY_TEXT,
    QUOTA_CODES,
    QUOTA_TEXT,
    REFUSED_CODES,
    REFUSED_TEXT,
    THROTTLE_CODES,
    TOO_LONG_CODES,
    TOO_LONG_TEXT,
    WRITTEN_CODES,
)
from providers.redact import ID_CAP, redact
from providers.retry_after import believed, retry_after


class ErrorClass(StrEnum):
    """One leaf of the tree above; the properties are its decision."""

    THROTTLED = "throttled"
    OVERLOADED = "overloaded"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"
    CREDENTIAL_DEAD = "credential_dead"
    QUOTA_DEAD = "quota_dead"
    TOO_LONG = "too_long"
    REFUSED = "refused"
    BAD_REQUEST = "bad_request"
    MALFORMED = "malformed"
    REJECTED = "rejected"

    @property
    def spends_attempt(self) -> bool:
        """Whether it counts against the request's attempt budget."""
        return self is not ErrorClass.THROTTLED

    @property
    def next_candidate(self) -> bool:
        """Whether only another candidate can help; False where the same call may succeed later,
        unless it is final."""
        return self in _NEXT_CANDIDATE

    @property
    def waits(self) -> bool:
        """Whether an operator or a reset mends it: no fault of the request."""
        return self in (ErrorClass.CREDENTIAL_DEAD, ErrorClass.QUOTA_DEAD)

    @property
    def final(self) -> bool:
        """Whether the request has its result: no candidate would do better."""
        return self in (ErrorClass.BAD_REQUEST, ErrorClass.REFUSED)

    @property
    def may_be_billed(self) -> bool:
        """Whether money may have been spent although no usable answer came."""
        return self in (ErrorClass.UNKNOWN, ErrorClass.MALFORMED, ErrorClass.REJECTED)


_NEXT_CANDIDATE: Final = frozenset({ErrorClass.TOO_LONG})


@dataclass(frozen=True, slots=True)
class ProviderError:
    """One failed attempt.

    `status` is None where no answer came. `message` is redacted and may be shown to users.
    `retry_after` is in seconds. `billed` says that money may have been spent; `usage` is what
    the provider counted, where it said so. `hopeless` says that the same call is ruled out, by
    the provider itself or by a check, `final` that any other is too; `elsewhere` that another
    candidate should be asked where there is one; `misdirected` that the deployment's model or
    address is not there, while its key may be as good as ever.
    """

    error_class: ErrorClass
    status: int | None
    code: str
    message: str
    retry_after: float | None = None
    billed: bool = False
    usage: Usage | None = None
    hopeless: bool = False
    final: bool = False
    elsewhere: bool = False
    misdirected: bool = False


class TransportError(BatchyardError):
    """No usable answer came. `may_have_arrived` says whether the provider may have the whole
    request, and so may bill it."""

    def __init__(self, message: str, *, may_have_arrived: bool) -> None:
        super().__init__(message)
        self.may_have_arrived = may_have_arrived


def from_transport(error: TransportError) -> ProviderError:
    """A failed exchange as a decision."""
    leaf = ErrorClass.UNKNOWN if error.may_have_arrived else ErrorClass.TRANSIENT
    return ProviderError(leaf, None, "transport", redact(str(error)), billed=leaf.may_be_billed)


def malformed(status: int, problem: str, usage: Usage | None = None) -> ProviderError:
    """A success whose body cannot be used. It was most likely billed."""
    return ProviderError(
        ErrorClass.MALFORMED, status, "malformed", redact(problem), billed=True, usage=usage
    )


def classify(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The decision for an answer that is not a success. `headers` have lower-case names."""
    error = read_error_body(body)
    wait = retry_after(headers)
    if wait is None:
        wait = believed(error.retry_delay)
    leaf = _leaf(status, error, wait)
    advice = headers.get("x-should-retry", "").strip().lower()
    if advice == "true" and leaf is ErrorClass.BAD_REQUEST:
        leaf = ErrorClass.OVERLOADED
    message = redact(error.message) or _plain_message(status, headers)
    return ProviderError(
        leaf,
        status,
        redact(error.code or error.type or f"http_{status}", ID_CAP),
        message,
        wait,
        leaf.may_be_billed,
        hopeless=advice == "false" and leaf is ErrorClass.OVERLOADED,
        misdirected=leaf is ErrorClass.CREDENTIAL_DEAD and _misdirected(status, error),
    )


_CREDENTIAL_STATUS: Final = frozenset({401, 402, 403})
# 424 is TGI's failed generation, 498 Groq's capacity of the flex tier.
_OVERLOADED_STATUS: Final = frozenset({408, 409, 424, 425, 498})
# Cloudflare's "a timeout occurred": the origin took the request and gave no answer in time.
_ORIGIN_TIMEOUT: Final = 524


def _leaf(status: int, error: ErrorBody, wait: float | None) -> ErrorClass:
    if status == 429:
        return _leaf_429(error, wait)
    if status in _CREDENTIAL_STATUS:
        return _leaf_credential(error)
    if status in _OVERLOADED_STATUS:
        return ErrorClass.OVERLOADED
    if status >= 500:
        return _leaf_5xx(status, error)
    if _misdirected(status, error):
        return ErrorClass.CREDENTIAL_DEAD
    return _leaf_4xx(error)


def _misdirected(status: int, error: ErrorBody) -> bool:
    """Whether the deployment's model or address is not there, which no request can help: the
    name of the model is ours and stands in no stored body."""
    if status not in (400, 404):
        return status == 405 or 300 <= status < 400
    text = error.message
    if error.any_of(GONE_CODES) or GONE_TEXT.search(text):
        return True
    if status == 400:
        return False
    nameless = error.param == "model" or error.any_of(ADDRESS_CODES) or not text
    return nameless or bool(ADDRESS_TEXT.search(text))


def _leaf_429(error: ErrorBody, wait: float | None) -> ErrorClass:
    if error.quota_of == "day" or error.any_of(QUOTA_CODES):
        return ErrorClass.QUOTA_DEAD
    if TOO_LONG_TEXT.search(error.message):
        return ErrorClass.TOO_LONG
    # Google words a per-minute limit like an empty account: what tells them apart is a named wait,
    # or the name of the quota.
    if wait is None and not error.quota_of and QUOTA_TEXT.search(error.message):
        return ErrorClass.QUOTA_DEAD
    return ErrorClass.THROTTLED


def _leaf_credential(error: ErrorBody) -> ErrorClass:
    if error.any_of(QUOTA_CODES):
        return ErrorClass.QUOTA_DEAD
    if error.any_of(REFUSED_CODES) or REFUSED_TEXT.search(error.message):
        return ErrorClass.REFUSED
    if error.any_of(THROTTLE_CODES):
        return ErrorClass.THROTTLED
    return ErrorClass.CREDENTIAL_DEAD


def _leaf_5xx(status: int, error: ErrorBody) -> ErrorClass:
    if error.any_of(THROTTLE_CODES):
        return ErrorClass.THROTTLED
    if error.any_of(QUOTA_CODES):
        return ErrorClass.QUOTA_DEAD
    if error.any_of(TOO_LONG_CODES):
        return ErrorClass.TOO_LONG
    if status == _ORIGIN_TIMEOUT:
        return ErrorClass.UNKNOWN
    if status in (501, 505):
        return ErrorClass.BAD_REQUEST
    return ErrorClass.OVERLOADED


def _leaf_4xx(error: ErrorBody) -> ErrorClass:
    by_code = (
        (TOO_LONG_CODES, ErrorClass.TOO_LONG),
        (REFUSED_CODES, ErrorClass.REFUSED),
        (QUOTA_CODES, ErrorClass.QUOTA_DEAD),
        (KEY_CODES, ErrorClass.CREDENTIAL_DEAD),
        (WRITTEN_CODES, ErrorClass.MALFORMED),
    )
    for codes, leaf in by_code:
        if error.any_of(codes):
            return leaf
    by_text = (
        (TOO_LONG_TEXT, ErrorClass.TOO_LONG),
        (REFUSED_TEXT, ErrorClass.REFUSED),
        (KEY_TEXT, ErrorClass.CREDENTIAL_DEAD),
        (QUOTA_TEXT, ErrorClass.QUOTA_DEAD),
    )
    for pattern, leaf in by_text:
        if pattern.search(error.message):
            return leaf
    # Last, because Groq says so of a single request that is larger than a minute's tokens.
    return ErrorClass.THROTTLED if error.any_of(THROTTLE_CODES) else ErrorClass.BAD_REQUEST


def _plain_message(status: int, headers: Mapping[str, str]) -> str:
    if 300 <= status < 400:
        target = redact(headers.get("location", "another address"))
        return (
            f"the provider redirects to {target}; redirects are not followed with credentials. "
            f"Set the provider's base_url to the final address"
        )
    if status in (404, 405):
        return "there are no chat completions: look at the provider's base_url"
    return f"the provider answered HTTP {status} without an explanation"
