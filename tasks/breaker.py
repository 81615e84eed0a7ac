"""When a deployment is closed: one process' view of one line. Pure.

    closes                          when
    ─────────────────────────────── ──────────────────────────────────────────────────────────
    cooling, growing times          half of at least ten calls within thirty seconds failed
                                    (overloaded, transient, unknown, malformed); or five
                                    connections in a row were refused; or for ten seconds
                                    there was nothing but 429s
    cooling until its reset         the quota is used up
    disabled until an operator      its key was refused three times in a row: all lines of the
                                    key; or a 403 came as often, or a model or an address
                                    that is not there: this deployment alone

    opens again                     after cooling a few calls are tried (`probing`): the first
                                    that is answered opens it, the first that fails cools it for
                                    longer

An answer is whatever shows that the server works: a refusal of one request is one, too.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from core.status import Cause, DeploymentStatus
from providers.errors import ErrorClass, ProviderError

WINDOW: Final = 30.0
SLOT: Final = 5.0
LEAST_CALLS: Final = 10
SHARE: Final = 0.5
REFUSED_CONNECTIONS: Final = 5
REFUSED_KEYS: Final = 3
DRY_SPELL: Final = 10.0
DRY_CALLS: Final = 10
MOST_TEXT: Final = 200

_FAILURES: Final = frozenset(
    {
        ErrorClass.OVERLOADED,
        ErrorClass.TRANSIENT,
        ErrorClass.UNKNOWN,
        ErrorClass.MALFORMED,
    }
)
# Whatever is not among them shows that the server works.
_TROUBLES: Final = _FAILURES | {
    ErrorClass.THROTTLED,
    ErrorClass.CREDENTIAL_DEAD,
    ErrorClass.QUOTA_DEAD,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the deployment: its new status, and why. `seconds` is how long, where
    that is known; `whole_key` says that all lines of its key are meant."""

    status: DeploymentStatus
    cause: Cause | None = None
    reason: str = ""
    seconds: float | None = None
    whole_key: bool = False


@dataclass(slots=True)
class Breaker:
    """Counts what the calls to one line brought. Times are in seconds of the caller's clock.

    `quota_wait` is how long a used-up quota parks it where the provider names no time.
    """

    quota_wait: float = 600.0
    _slots: deque[list[int]] = field(default_factory=deque)
    _refused: int = 0
    _denied: int = 0
    _dry: int = 0
    _dry_since: float = 0.0

    def forget(self) -> None:
        """Whatever was counted belongs to the time before it was closed."""
        self._slots.clear()
        self._refused = self._denied = self._dry = 0

    def saw(self, error: ProviderError | None, now: float) -> Verdict | None:
        """One call to an open deployment has ended; None was an answer."""
        if error is None or error.error_class not in _TROUBLES:
            self._refused = self._denied = self._dry = 0
            self._count(now, failed=False)
            return None
        leaf = error.error_class
        if leaf is ErrorClass.QUOTA_DEAD:
            return quota_verdict(error, self.quota_wait)
        if leaf is ErrorClass.CREDENTIAL_DEAD:
            self._denied += 1
            return key_verdict(error) if self._denied >= REFUSED_KEYS else None
        if leaf is ErrorClass.THROTTLED:
            return self._throttled(now)
        self._count(now, failed=True)
        return self._failed(error)

    def probed(self, error: ProviderError | None, cause: Cause | None) -> Verdict | None:
        """One call to a deployment that is being probed has ended."""
        leaf = None if error is None else error.error_class
        if error is not None and leaf is ErrorClass.QUOTA_DEAD:
            return quota_verdict(error, self.quota_wait)
        if error is not None and leaf is ErrorClass.CREDENTIAL_DEAD:
            return key_verdict(error)
        if error is not None and leaf in _FAILURES:
            return _cooling(Cause.FAILURES, f"tried again, but {told(error)}")
        if leaf is ErrorClass.THROTTLED:
            # Of one that was closed for its failures it says that the server works.
            again = cause is Cause.THROTTLED
            return _cooling(Cause.THROTTLED, "tried again, and got a 429") if again else None
        return Verdict(DeploymentStatus.OPEN)

    def _count(self, now: float, *, failed: bool) -> None:
        slot = int(now / SLOT)
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append([slot, 0, 0])
            while self._slots[0][0] <= slot - WINDOW / SLOT:
                self._slots.popleft()
        self._slots[-1][1] += 1
        self._slots[-1][2] += int(failed)

    def _failed(self, error: ProviderError) -> Verdict | None:
        self._refused = self._refused + 1 if error.error_class is ErrorClass.TRANSIENT else 0
        if self._refused >= REFUSED_CONNECTIONS:
            return _cooling(Cause.FAILURES, f"{self._refused} times in a row {told(error)}")
        calls, failures = (sum(slot[at] for slot in self._slots) for at in (1, 2))
        if calls < LEAST_CALLS or failures < SHARE * calls:
            return None
        reason = f"{failures} of {calls} calls failed, the last: {told(error)}"
        return _cooling(Cause.FAILURES, reason)

    def _throttled(self, now: float) -> Verdict | None:
        if not self._dry:
            self._dry_since = now
        self._dry += 1
        spell = now - self._dry_since
        if self._dry < DRY_CALLS or spell < DRY_SPELL:
            return None
        return _cooling(Cause.THROTTLED, f"nothing but 429s for {spell:.0f} s")


def _cooling(cause: Cause, reason: str) -> Verdict:
    return Verdict(DeploymentStatus.COOLING, cause, reason)


def quota_verdict(error: ProviderError, usual: float) -> Verdict:
    """Parked until its reset: the provider's own time, else `usual` seconds."""
    wait = usual if error.retry_after is None else error.retry_after
    reason = f"its quota is used up: {told(error)}"
    return Verdict(DeploymentStatus.COOLING, Cause.QUOTA, reason, wait)


def key_verdict(error: ProviderError) -> Verdict:
    """Closed until an operator has replaced the key, or named a model and an address that are
    there."""
    what = "its model or address is not there" if error.misdirected else "its key was refused"
    return Verdict(
        DeploymentStatus.DISABLED,
        Cause.KEY,
        f"{what}: {told(error)}",
        whole_key=not error.misdirected and error.status != 403,
    )


def told(error: ProviderError) -> str:
    """An error in a few words; its message is redacted already."""
    status = "" if error.status is None else f"HTTP {error.status}, "
    # A part of a sentence: what ends it comes later.
    text = f"{status}{error.message}".rstrip(".")
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
