"""Whether a route's router can do what the route asks of it: said at submit, not in a log."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from core.errors import ConfigError, InputError
from core.pilot import LEAST_SAMPLE, MOST_SAMPLE, PilotOptions
from core.settings import Settings
from db.connect import Connection
from db.router_models import promoted_info
from tasks.router.intent_models import intents_problem


async def check_routers(
    conn: Connection, project_id: int, settings: Settings, targets: Iterable[str]
) -> None:
    """Raises ConfigError where one of the targets is a route whose router has no promoted model
    of task choice in this project, or one that does not know all of the route's candidates; or
    whose intents are told by a model that has none of task intent."""
    for name in targets:
        route = settings.routes.get(name)
        if route is not None and route.intents is not None:
            problem = await intents_problem(conn, project_id, settings, name, route.intents)
            if problem is not None:
                raise ConfigError(problem)
        if route is None or route.router is None:
            continue
        model = route.router.model
        remedy = (
            f"Train one: batchyard router train --from results --name {model}; or run a pilot: "
            "submit --pilot 500"
        )
        info = await promoted_info(conn, project_id, model)
        if info is None:
            raise ConfigError(
                f"routes.{name} chooses by the router {model!r}, of which this project has no "
                f"promoted model. {remedy}"
            )
        known = info.get("candidates")
        if known is None:
            raise ConfigError(
                f"routes.{name}: {model!r} is a model of intents and chooses no deployment. "
                f"Name one of task choice; batchyard router list shows them"
            )
        learned = route.cascade is None or route.cascade.accept == "learned"
        if route.choose == "cascade" and learned:
            _check_cascade(name, model, route.candidates, info.get("acceptance") or {})
        unknown = [one for one in route.candidates if one not in known]
        if unknown:
            raise ConfigError(
                f"routes.{name}: the router {model!r} does not know {', '.join(unknown)}, only "
                f"{', '.join(known)}. {remedy}"
            )


def _check_cascade(
    route: str, model: str, candidates: Sequence[str], learned: Mapping[str, Any]
) -> None:
    """Raises ConfigError where the model has no cascade of these candidates."""
    asked, strong = learned.get("asked"), learned.get("strong")
    if not asked:
        raise ConfigError(
            f"routes.{route}: the router {model!r} has learned no cascade: the data had no answers "
            "of its candidates (a column NAME|response for each), or no cascade of them was better "
            "than a mix of single ones. Train it on such data, or write cascade: agreement"
        )
    if strong not in candidates or not set(asked) & set(candidates):
        raise ConfigError(
            f"routes.{route}: the cascade of the router {model!r} asks {', '.join(asked)} and "
            f"then {strong}. Name them as candidates, or train it on these: router train "
            f"--candidates {','.join(candidates)}"
        )


def check_pilot(settings: Settings, route: str, options: PilotOptions) -> None:
    """Raises InputError where a job on the route can have no such pilot."""
    if not LEAST_SAMPLE <= options.requests <= MOST_SAMPLE:
        raise InputError(
            f"A pilot has {LEAST_SAMPLE} to {MOST_SAMPLE:,} requests, not {options.requests:,}. "
            "500 is usual"
        )
    if not 0 < options.share <= 1:
        raise InputError("A pilot's share of the budget is above 0 and at most 1, e.g. 0.2")
    found = settings.routes.get(route)
    if found is None or found.router is None or len(found.candidates) < 2:
        raise InputError(
            f"A pilot is for a route with a router and two or more candidates; {route!r} is none. "
            "Name one with --route"
        )
