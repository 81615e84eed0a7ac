"""The configuration tree: `batchyard.yaml`, validated; secrets only by reference.

Shape::

    providers:
      lab: {kind: openai, base_url: "http://127.0.0.1:9000/v1", api_key: "env:LAB_KEY"}
    deployments:
      small: {provider: lab, model: my-8b, limits: {in_flight: 64}}
    routes:
      default: {candidates: [small]}
"""

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderSettings(Strict):
    """Who serves. `simulator` and `local` are started by `batchyard up` itself."""

    kind: Literal["openai", "simulator", "local"] = "openai"
    base_url: str | None = None
    api_key: str | None = None
    timeout: float = Field(default=120.0, gt=0, le=900)
    headers: dict[str, str] = Field(default_factory=dict)
    profile: dict[str, Any] = Field(default_factory=dict)


class LimitSettings(Strict):
    rpm: int | None = Field(default=None, gt=0)
    tpm: int | None = Field(default=None, gt=0)
    in_flight: int | None = Field(default=None, gt=0)


class PriceSettings(Strict):
    input_per_mtok: Decimal = Field(ge=0)
    output_per_mtok: Decimal = Field(ge=0)


class DeploymentSettings(Strict):
    """Provider + model + limits: what can be called."""

    provider: Name
    model: str
    limits: LimitSettings = LimitSettings()
    price: PriceSettings | None = None
    context: int | None = Field(default=None, gt=0)


class RouteSettings(Strict):
    """Ordered candidates; fallback goes down the list."""

    candidates: list[Name] = Field(min_length=1)
    choose: Literal["ordered", "cheapest"] = "ordered"
    max_output: int = Field(default=4096, gt=0)
    max_attempts: int = Field(default=6, ge=1, le=100)


class YardSettings(Strict):
    """How the yard itself runs. Seconds, unless the name says otherwise."""

    workers: int = Field(default=1, ge=1, le=64)
    lease: float = Field(default=20.0, gt=0)
    heartbeat: float = Field(default=5.0, gt=0)
    slice: float = Field(default=45.0, gt=0, le=300)
    lanes: int = Field(default=16, ge=1, le=256)


class Settings(Strict):
    """The whole tree."""

    providers: dict[Name, ProviderSettings]
    deployments: dict[Name, DeploymentSettings]
    routes: dict[Name, RouteSettings]
    yard: YardSettings = YardSettings()

    @model_validator(mode="after")
    def _references_exist(self) -> "Settings":
        for name, deployment in self.deployments.items():
            if deployment.provider not in self.providers:
                raise ValueError(
                    f"deployments.{name}.provider: {deployment.provider!r} is not under providers"
                )
        for name, route in self.routes.items():
            for candidate in route.candidates:
                if candidate not in self.deployments:
                    raise ValueError(
                        f"routes.{name}.candidates: {candidate!r} is not under deployments"
                    )
        return self

    def digest(self) -> str:
        """A short fingerprint of the configuration, kept with every job."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
