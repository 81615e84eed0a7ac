"""What can be called: the deployments that a configuration comes to, with their prices."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import urljoin, urlsplit

from core.deployment import Deployment, HealthCheck
from core.errors import ConfigError
from core.money import Price
from core.ports import Buckets
from core.provider import LimitSettings, ProviderSettings
from core.settings import DeploymentSettings, Settings, key_scope, project_scope
from providers.configuration import OPENAI_URL
from providers.prices import context_of, price_of

_COUNT_ASKED: Final = (
    "api.openai.com",
    ".openai.azure.com",
    ".services.ai.azure.com",
    "api.cerebras.ai",
)


def resolve_deployments(settings: Settings, base_urls: Mapping[str, str]) -> dict[str, Deployment]:
    """Every deployment by name, with its address, key, limits, price and window. One whose
    provider has several keys is there once for each of them (`Settings.lines`).

    `base_urls` says, by provider, where the simulator and the local model that `batchyard up`
    started listen. Raises ConfigError for a managed provider that listens nowhere.
    """
    return {
        line.name: line
        for name, one in settings.deployments.items()
        for line in _lines(settings, name, one, base_urls)
    }


def _lines(
    settings: Settings, name: str, one: DeploymentSettings, base_urls: Mapping[str, str]
) -> list[Deployment]:
    provider = settings.providers[one.provider]
    names = settings.lines(name)
    first = _resolve(name, one, provider, base_urls)
    return [
        replace(
            first,
            name=line,
            buckets=replace(first.buckets, key=line),
            api_key=reference,
            key_number=number,
            key_count=len(names),
            key_buckets=_key_buckets(one.provider, provider, number),
        )
        for number, (line, reference) in enumerate(
            zip(names, provider.references or (None,), strict=True), 1
        )
    ]


def _key_buckets(name: str, provider: ProviderSettings, number: int) -> Buckets | None:
    limits = provider.keys[number - 1].limits if provider.keys else LimitSettings()
    if limits == LimitSettings():
        return None
    return _buckets(key_scope(name, number), limits)


def _buckets(key: str, limits: LimitSettings) -> Buckets:
    return Buckets(
        key, limits.rpm, limits.tpm, limits.in_flight, limits.input_tpm, limits.output_tpm
    )


def project_buckets(settings: Settings) -> dict[str, Buckets]:
    """The limits of every project that has some, by its name."""
    return {
        name: _buckets(project_scope(name), one.limits)
        for name, one in settings.projects.items()
        if one.limits != LimitSettings()
    }


def _resolve(
    name: str,
    deployment: DeploymentSettings,
    provider: ProviderSettings,
    base_urls: Mapping[str, str],
) -> Deployment:
    base_url = _base_url(deployment.provider, provider, base_urls)
    return Deployment(
        name=name,
        provider=deployment.provider,
        kind=provider.kind,
        base_url=base_url,
        model=deployment.model,
        timeout=provider.timeout,
        api_key=None,
        buckets=_buckets(name, deployment.limits),
        price=_price(deployment, base_url),
        context=deployment.context or context_of(base_url, deployment.model),
        headers=provider.headers,
        quota_wait=provider.quota_wait,
        health=_health(provider, base_url),
        counts_asked=_counts_asked(deployment, provider, base_url),
    )


def _health(provider: ProviderSettings, base_url: str) -> HealthCheck | None:
    watch = provider.watch
    if watch is None:
        return None
    url = f"{base_url}/models" if watch.path is None else urljoin(base_url, watch.path)
    return HealthCheck(url, watch.every)


def _counts_asked(
    deployment: DeploymentSettings, provider: ProviderSettings, base_url: str
) -> bool:
    """Some charge a call's whole output limit when it comes in
    (https://learn.microsoft.com/azure/ai-services/openai/how-to/quota,
    https://inference-docs.cerebras.ai/support/rate-limits)."""
    if deployment.counts is not None:
        return deployment.counts == "asked"
    host = urlsplit(base_url).hostname or ""
    return provider.kind == "simulator" or host.endswith(_COUNT_ASKED)


def _base_url(name: str, provider: ProviderSettings, base_urls: Mapping[str, str]) -> str:
    if provider.base_url is not None:
        return provider.base_url
    if provider.kind == "openai":
        return OPENAI_URL
    if name not in base_urls:
        raise ConfigError(
            f"providers.{name}: the {provider.kind} is not running. `batchyard up` starts it; "
            f"for one of your own, set providers.{name}.base_url"
        )
    return base_urls[name].rstrip("/")


def _price(deployment: DeploymentSettings, base_url: str) -> Price | None:
    given = deployment.price
    if given is not None:
        return Price(given.input_per_mtok, given.output_per_mtok)
    return price_of(base_url, deployment.model)
