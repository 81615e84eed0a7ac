"""What a step may use. `workers/wiring.py` builds it; tests build their own."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.deployment import Deployment
from core.ports import Publisher
from core.settings import Settings
from db.connect import Pool


@dataclass(frozen=True, slots=True)
class Context:
    """For every step: the configuration, the database and the bell."""

    settings: Settings
    deployments: Mapping[str, Deployment]
    pool: Pool
    publisher: Publisher
