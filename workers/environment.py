"""Where this process finds its configuration and services: environment variables only.

BATCHYARD_CONFIG         path of batchyard.yaml
BATCHYARD_DATABASE_URL   postgresql://...
BATCHYARD_BROKER_URL     redis://... or amqp://...
BATCHYARD_LIMITER_URL    redis://...; the broker's URL where that is Redis
BATCHYARD_BASE_URLS      JSON: where the managed providers (simulator, local) listen
"""

import json
import os
from collections.abc import Mapping
from functools import cache

from core.deployment import Deployment
from core.errors import ServiceError
from core.settings import Settings
from db.address import postgres_url
from providers.catalog import resolve_deployments
from providers.configuration import load_settings
from workers.address import broker_address, keeps_limits, limiter_address


@cache
def settings() -> Settings:
    """The configuration, read once per process."""
    return load_settings(None, os.environ)


@cache
def deployments() -> Mapping[str, Deployment]:
    """What can be called, by name."""
    base_urls = json.loads(os.environ.get("BATCHYARD_BASE_URLS", "{}"))
    return resolve_deployments(settings(), base_urls)


def database_url() -> str:
    """Where Postgres is."""
    return postgres_url(_required("BATCHYARD_DATABASE_URL"))


def broker_url() -> str:
    """Where the broker is."""
    return broker_address(_required("BATCHYARD_BROKER_URL"))


def limiter_url() -> str:
    """A Redis-protocol server; limits are shared by all processes that name the same one."""
    named = os.environ.get("BATCHYARD_LIMITER_URL")
    url = limiter_address(named) if named else broker_url()
    if not keeps_limits(url):
        raise ServiceError(
            "the limiter needs a Redis-protocol server, and the broker is none. "
            "Set BATCHYARD_LIMITER_URL=redis://..."
        )
    return url


def _required(name: str) -> str:
    url = os.environ.get(name)
    if not url:
        raise ServiceError(
            f"{name} is not set. Beside a yard on this machine, "
            'eval "$(batchyard env)" sets all that a process of your own needs; '
            "elsewhere, point it at the yard's service"
        )
    return url
