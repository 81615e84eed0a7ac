"""What a shell offers on TAB for a route."""

import os

from batchyard.cli.complete import Offer
from batchyard.cli.places import settings_path
from batchyard.embedded.home import Home
from core.errors import BatchyardError
from providers.configuration import load_settings


def offer_targets(incomplete: str) -> Offer:
    """Names that `--route` takes: routes first, then deployments."""
    try:
        settings = load_settings(settings_path(Home.from_env(), None), os.environ)
    except BatchyardError:
        return []
    routes = [(name, "route") for name in settings.routes]
    deployments = [(name, one.model) for name, one in settings.deployments.items()]
    return [pair for pair in (*routes, *deployments) if pair[0].startswith(incomplete)]
