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
import re
from decimal import Decimal
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from core.plan import MOST_CANDIDATES
from core.route import RouteSettings
from core.strict import Name, Problem, SettingsError, Strict, suggest

LINE_MARK: Final = "#"
"""Between a deployment's name and the number of its line; no name can hold it."""

_REFERENCE: Final = re.compile(r"(env:[A-Za-z_][A-Za-z0-9_]*|file:\S.*)")
# A server and a path: no user and password, which logs would show, and no query.
_ADDRESS: Final = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[^?#@\s]*)?"
)
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CREDENTIAL_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie"}
)


def _reference(value: str) -> str:
    if not _REFERENCE.fullmatch(value):
        raise SettingsError(
            Problem(
                (),
                "is not a reference to a key",
                "Put the key in the environment and write api_key: env:NAME, "
                "or in a file and write api_key: file:/path",
            )
        )
    return value


def configured_name(line: str) -> str:
    """The deployment's name in the configuration: `mini` for the line `mini#2`."""
    return line.partition(LINE_MARK)[0]


def key_scope(provider: str, number: int) -> str:
    """What the limits of a provider's key are called by."""
    return f"key:{provider}{LINE_MARK}{number}"


def project_scope(project: str) -> str:
    """What the limits of a project are called by."""
    return f"project:{project}"


class LimitSettings(Strict):
    """Requests and tokens per minute, and calls at once. Tokens are counted together (`tpm`),
    or input and output apart where the provider does so. What is not declared is not limited:
    for a deployment, it is learnt from what the provider says and from its 429s."""

    rpm: int | None = Field(default=None, gt=0)
    tpm: int | None = Field(default=None, gt=0)
    input_tpm: int | None = Field(default=None, gt=0)
    output_tpm: int | None = Field(default=None, gt=0)
    in_flight: int | None = Field(default=None, gt=0)


class KeySettings(Strict):
    """One of a provider's keys, by reference, and what its account allows over all models
    together."""

    key: str
    limits: LimitSettings = LimitSettings()

    @model_validator(mode="before")
    @classmethod
    def _is_short_for_a_key(cls, value: Any) -> Any:
        return {"key": value} if isinstance(value, str) else value

    @field_validator("key")
    @classmethod
    def _is_a_reference(cls, value: str) -> str:
        return _reference(value)


class HealthSettings(Strict):
    """How a server of your own is watched: with a GET, without a key, every so many seconds.
    `path` is the path on the server, such as /health; without one it is `/models` below the
    `base_url`. `true` and `false` are short for `{on: true}` and `{on: false}`."""

    on: bool = True
    path: str | None = Field(default=None, pattern=r"^/[^?#@\s]*$")
    every: float = Field(default=10.0, ge=1, le=3600)

    @model_validator(mode="before")
    @classmethod
    def _is_on_or_off(cls, value: Any) -> Any:
        return {"on": value} if isinstance(value, bool) else value


class ProviderSettings(Strict):
    """Who serves. `simulator` and `local` are started by `batchyard up` itself, unless a
    `base_url` says where one listens already.

    `base_url` is what stands before `/chat/completions`; without one, kind `openai` is
    OpenAI itself. `api_key` is a reference: `env:NAME` or `file:/path`. `keys` are several of
    them, of which each makes a line of every deployment. `timeout` is in seconds for a whole
    call. `headers` go with every call and hold no secret. A key is sent
    over plain http only to this machine, or where `plain_http` allows it. `profile` is what
    a simulator simulates. `quota_wait` (seconds) is how long a used-up quota parks a deployment
    where the provider names no time. `health` watches a server of your own; `local` ones are
    watched unless it is false.
    """

    kind: Literal["openai", "simulator", "local"] = "openai"
    base_url: str | None = None
    api_key: str | None = None
    keys: list[KeySettings] = Field(default_factory=list)
    timeout: float = Field(default=120.0, gt=0, le=900)
    headers: dict[str, str] = Field(default_factory=dict)
    plain_http: bool = False
    profile: dict[str, Any] = Field(default_factory=dict)
    quota_wait: float = Field(default=600.0, gt=0, le=86_400)
    health: HealthSettings | None = None

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not _ADDRESS.fullmatch(value):
            raise SettingsError(
                Problem((), "is not an address of a server", "Write e.g. https://host:8000/v1")
            )
        if value.rstrip("/").endswith("/chat/completions"):
            raise SettingsError(
                Problem((), "names a single endpoint", "Leave /chat/completions off")
            )
        return value.rstrip("/")

    @field_validator("api_key")
    @classmethod
    def _is_a_reference(cls, value: str | None) -> str | None:
        return None if value is None else _reference(value)

    @model_validator(mode="after")
    def _has_each_key_once(self) -> "ProviderSettings":
        if self.keys and self.api_key is not None:
            fix = "List all of them under keys"
            raise SettingsError(Problem(("api_key",), "stands beside keys", fix))
        seen: set[str] = set()
        for position, one in enumerate(self.keys):
            if one.key in seen:
                place = ("keys", position)
                raise SettingsError(Problem(place, "is there already", "Name each key once"))
            seen.add(one.key)
        return self

    @property
    def watch(self) -> HealthSettings | None:
        """How its server is watched; None where it is not."""
        if self.health is None:
            return HealthSettings() if self.kind == "local" else None
        return self.health if self.health.on else None

    @property
    def references(self) -> tuple[str, ...]:
        """Where its keys are found; empty for a provider that needs none."""
        if self.api_key is not None:
            return (self.api_key,)
        return tuple(one.key for one in self.keys)

    @field_validator("headers")
    @classmethod
    def _headers_hold_no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if name.lower() in _CREDENTIAL_HEADERS:
                raise SettingsError(
                    Problem((name,), "carries a credential", "Use api_key: env:NAME instead")
                )
            if not _HEADER_NAME.fullmatch(name) or not (text.isascii() and text.isprintable()):
                raise SettingsError(
                    Problem((name,), "cannot be sent as a header", "Use plain ASCII on one line")
                )
        return value

    @model_validator(mode="after")
    def _profile_is_a_simulators(self) -> "ProviderSettings":
        if self.profile and self.kind != "simulator":
            raise SettingsError(
                Problem(("profile",), "only a simulator has a profile", "Use kind: simulator")
            )
        return self


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

    host: str = Field(default="127.0.0.1", min_length=1)


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

    providers: dict[Name, ProviderSettings]
    deployments: dict[Name, DeploymentSettings]
    routes: dict[Name, RouteSettings]
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
        if problems:
            raise SettingsError(*problems)
        return self

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
            for number, one in enumerate(provider.keys, 1)
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
