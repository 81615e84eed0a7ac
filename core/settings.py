"""The configuration tree: `batchyard.yaml`, validated; secrets only by reference.

Shape::

    providers:
      lab: {kind: openai, base_url: "http://127.0.0.1:9000/v1", api_key: "env:LAB_KEY"}
    deployments:
      small: {provider: lab, model: my-8b, limits: {in_flight: 64}}
    routes:
      default: {candidates: [small]}
    projects:
      research: {weight: 2, limits: {rpm: 600}}
"""

import hashlib
import json
from decimal import Decimal
from typing import Final, Literal

from pydantic import Field, field_validator, model_validator

from core.plan import MOST_CANDIDATES
from core.provider import LimitSettings, ProviderSettings
from core.route import RouteSettings
from core.strict import Name, Problem, SettingsError, Strict, is_host, suggest

LINE_MARK: Final = "#"
"""Between a deployment's name and the number of its line; no name can hold it."""

KEY_SCOPE: Final = "key:"
PROJECT_SCOPE: Final = "project:"


def configured_name(line: str) -> str:
    """The deployment's name in the configuration: `mini` for the line `mini#2`."""
    return line.partition(LINE_MARK)[0]


def key_scope(provider: str, number: int) -> str:
    """What the limits of a provider's key are called by."""
    return f"{KEY_SCOPE}{provider}{LINE_MARK}{number}"


def project_scope(project: str) -> str:
    """What the limits of a project are called by."""
    return f"{PROJECT_SCOPE}{project}"


class PriceSettings(Strict):
    """Dollars per million tokens."""

    input_per_mtok: Decimal = Field(ge=0, allow_inf_nan=False)
    output_per_mtok: Decimal = Field(ge=0, allow_inf_nan=False)


class DeploymentSettings(Strict):
    """Provider + model + limits: what can be called. `price` and `context` (tokens) are looked
    up where they are not given.

    `counts` says what the provider counts against token limits: the output that a call may
    have (`asked`) or what it had (`used`). Without it: `asked` for OpenAI, Azure and the
    simulator, `used` for all others.
    """

    provider: Name
    model: str = Field(min_length=1)
    limits: LimitSettings = LimitSettings()
    counts: Literal["asked", "used"] | None = None
    price: PriceSettings | None = None
    context: int | None = Field(default=None, gt=0)


class ProjectSettings(Strict):
    """Who shares the yard. Where projects wait for the same deployment, each gets of it in
    proportion to its `weight`; `limits` hold for all its calls together, None is no limit."""

    weight: float = Field(default=1.0, ge=0.01, le=100)
    limits: LimitSettings = LimitSettings()


class MetricsSettings(Strict):
    """Where `/metrics` listens: on loopback, so that only this machine sees it. `host` is an
    address of this machine, 0.0.0.0 for all of them."""

    host: str = "127.0.0.1"

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        if not is_host(value):
            fix = (
                "Write an address of this machine, e.g. 127.0.0.1, or 0.0.0.0 for all of them; "
                "each process finds a port by itself"
            )
            raise SettingsError(Problem((), f"{value!r} is not a host", fix))
        return value


class YardSettings(Strict):
    """How the yard itself runs. Seconds, unless the name says otherwise. `express_share` of
    every limit is kept for express requests."""

    workers: int = Field(default=1, ge=1, le=64)
    lease: float = Field(default=20.0, gt=0)
    heartbeat: float = Field(default=5.0, gt=0)
    slice: float = Field(default=45.0, gt=0, le=300)
    lanes: int = Field(default=16, ge=1, le=256)
    express_share: float = Field(default=0.1, ge=0, le=0.5)
    metrics: MetricsSettings = MetricsSettings()

    @model_validator(mode="after")
    def _beats_within_the_lease(self) -> "YardSettings":
        if self.heartbeat > self.lease / 2:
            raise SettingsError(
                Problem(
                    ("heartbeat",),
                    f"{self.heartbeat:g} s is more than half of the lease of {self.lease:g} s",
                    "Beat at least twice within a lease, or lengthen the lease",
                )
            )
        return self


class Settings(Strict):
    """The whole tree."""

    providers: dict[Name, ProviderSettings] = Field(min_length=1)
    deployments: dict[Name, DeploymentSettings] = Field(min_length=1)
    routes: dict[Name, RouteSettings] = Field(min_length=1)
    projects: dict[Name, ProjectSettings] = Field(default_factory=dict)
    yard: YardSettings = YardSettings()

    @model_validator(mode="after")
    def _references_exist(self) -> "Settings":
        problems = [
            Problem(
                ("deployments", name, "provider"),
                f"{deployment.provider} is not under providers",
                suggest(deployment.provider, self.providers),
            )
            for name, deployment in self.deployments.items()
            if deployment.provider not in self.providers
        ]
        problems += [
            Problem(
                ("routes", name, field, position),
                f"{candidate} is not under deployments",
                suggest(candidate, self.deployments),
            )
            for name, route in self.routes.items()
            for field in ("candidates", "too_long", "refused")
            for position, candidate in enumerate(getattr(route, field))
            if candidate not in self.deployments
        ]
        problems += [found for name in self.routes for found in self._strange_intents(name)]
        if not problems:
            problems = [found for name in self.routes for found in self._nothing_to_spread(name)]
        if problems:
            raise SettingsError(*problems)
        return self

    def _nothing_to_spread(self, name: str) -> list[Problem]:
        """Where `spread` over the first candidate's model would spread nothing at all."""
        route = self.routes[name]
        first, *others = route.candidates
        model = self.deployments[first].model
        alone = all(self.deployments[one].model != model for one in others)
        if route.choose != "spread" or not others or not alone or len(self.lines(first)) > 1:
            return []
        text = f"has nothing to spread over: only {first} serves {model}, with one key"
        fix = (
            "It spreads over the keys and endpoints of one model; over several models, write "
            "choose: least_busy or weighted"
        )
        return [Problem(("routes", name, "choose"), text, fix)]

    def _strange_intents(self, route: str) -> list[Problem]:
        """What a route's intents name and is not there."""
        intents = self.routes[route].intents
        if intents is None:
            return []
        place = ("routes", route, "intents")
        named: dict[tuple[str, ...], str | None] = {
            ("file", "intents", name, "route"): one.route
            for name, one in (intents.file.intents if intents.file else {}).items()
        }
        named["out_of_scope",] = None if intents.out_of_scope == "reject" else intents.out_of_scope
        problems = [
            Problem((*place, *where), f"{name} is not under routes", suggest(name, self.routes))
            for where, name in named.items()
            if name is not None and name not in self.routes
        ]
        if intents.llm is not None and intents.llm not in self.deployments:
            fix = suggest(intents.llm, self.deployments)
            text = f"{intents.llm} is not under deployments"
            problems.append(Problem((*place, "llm"), text, fix))
        return problems

    @model_validator(mode="after")
    def _routes_can_be_numbered(self) -> "Settings":
        problems = []
        for name, route in self.routes.items():
            lists = (*route.candidates, *route.too_long, *route.refused)
            count = len({line for one in lists for line in self.lines(one)})
            if count > MOST_CANDIDATES:
                text = f"comes to {count} deployments and keys, {MOST_CANDIDATES} at most can be"
                problems.append(Problem(("routes", name), text, "Make several routes of it"))
        if problems:
            raise SettingsError(*problems)
        return self

    def lines(self, deployment: str) -> tuple[str, ...]:
        """What a deployment of the configuration is called by: its own name, or `mini#1`,
        `mini#2`, … where its provider has several keys, in their order."""
        keys = len(self.providers[self.deployments[deployment].provider].references)
        if keys <= 1:
            return (deployment,)
        return tuple(f"{deployment}{LINE_MARK}{number}" for number in range(1, keys + 1))

    def scopes(self) -> list[str]:
        """What all limits are called by: lines, and those keys and projects that have some."""
        lines = [line for name in self.deployments for line in self.lines(name)]
        keys = [
            key_scope(name, number)
            for name, provider in self.providers.items()
            for number, one in enumerate(provider.keys or (), 1)
            if one.limits != LimitSettings()
        ]
        projects = [
            project_scope(name)
            for name, one in self.projects.items()
            if one.limits != LimitSettings()
        ]
        return [*lines, *keys, *projects]

    def digest(self) -> str:
        """A short fingerprint of the configuration, kept with every job."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
