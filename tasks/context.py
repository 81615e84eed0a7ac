"""What every step may use: also one that only submits, which has no way to a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.deployment import Deployment
from core.ports import Publisher
from core.settings import Settings
from db.connect import Pool
from tasks.meters import RouterMeters
from tasks.models import Models


@dataclass(frozen=True, slots=True)
class Context:
    """The configuration, the database, the bell, the trained models, and what steps count of the
    router's work. `workers/wiring.py` builds it for workers, `batchyard` for those who ask; tests
    build their own."""

    settings: Settings
    deployments: Mapping[str, Deployment]
    pool: Pool
    publisher: Publisher
    models: Models = field(default_factory=Models)
    router: RouterMeters = field(default_factory=RouterMeters)
