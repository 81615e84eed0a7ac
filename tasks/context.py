"""What every step may use: also one that only submits, which has no way to a model."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.deployment import Deployment
from core.ports import Publisher
from core.settings import Settings
from db.connect import Pool


@dataclass(frozen=True, slots=True)
class Context:
    """The configuration, the database and the bell. `workers/wiring.py` builds it for workers,
    `batchyard` for those who ask; tests build their own."""

    settings: Settings
    deployments: Mapping[str, Deployment]
    pool: Pool
    publisher: Publisher
