"""What held this process' calls back lately, from what its gates counted."""

from dataclasses import dataclass, field

from core.brake import Limit
from db.brakes import Braked
from tasks.meters import Meters

LEAST_SHARE = 0.05
"""Of the time: calls that waited less were not held back."""


@dataclass(slots=True)
class Brakes:
    """Follows the meters of one process. Times are in seconds of its own clock."""

    meters: Meters
    last: float
    _waited: dict[tuple[str, str, Limit], float] = field(default_factory=dict)

    def read(self, now: float, every: float) -> list[Braked]:
        """What held calls back since the last time, or will for a while. It is read `every` so
        many seconds and holds a little longer."""
        seconds, self.last = max(now - self.last, 0.001), now
        found = []
        for key, one in list(self.meters.brakes.items()):
            share = min(1.0, (one.seconds - self._waited.get(key, 0.0)) / seconds)
            self._waited[key] = one.seconds
            if one.until > now:
                share = 1.0
            if share >= LEAST_SHARE:
                ahead = max(1.5 * every, one.until - now)
                deployment, scope, what = key
                found.append(Braked(deployment, scope, what, one.most, share, ahead))
        return found
