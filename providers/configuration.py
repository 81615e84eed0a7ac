"""The configuration in force: a file's, or the one that needs no file.

Apart from the catalog, which knows prices: who only submits needs neither their tables nor the
20 MiB that those take.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from core.errors import ConfigError
from core.settings import Settings
from core.strict import Problem
from providers.address import is_loopback
from providers.config_file import read_settings, told

CONFIG_VARIABLE: Final = "BATCHYARD_CONFIG"
CONFIG_FILE: Final = "batchyard.yaml"

OPENAI_URL: Final = "https://api.openai.com/v1"

LOCAL_MODEL: Final = "smollm2-135m"
_SIM_CONTEXT: Final = 128_000


@dataclass(frozen=True, slots=True)
class KnownProvider:
    """An OpenAI-compatible API: its address, the variable that usually holds its key, and two
    models to begin with, both priced by genai-prices."""

    name: str
    base_url: str
    variable: str
    model: str
    cheap: str
    base_url_variable: str | None = None


# In order of preference, for where several keys are set.
KNOWN_PROVIDERS: Final = (
    KnownProvider(
        "openai", OPENAI_URL, "OPENAI_API_KEY", "gpt-5-mini", "gpt-5-nano", "OPENAI_BASE_URL"
    ),
    KnownProvider(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        "openai/gpt-5-mini",
        "openai/gpt-oss-20b",
    ),
    KnownProvider(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        "gemini-3.1-flash-lite",
        "gemini-2.5-flash-lite",
    ),
    KnownProvider(
        "mistral",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        "mistral-small-latest",
        "ministral-8b-latest",
    ),
    KnownProvider(
        "groq",
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        "openai/gpt-oss-120b",
        "openai/gpt-oss-20b",
    ),
    KnownProvider(
        "deepseek",
        "https://api.deepseek.com",
        "DEEPSEEK_API_KEY",
        "deepseek-flash",
        "deepseek-flash",
    ),
    KnownProvider(
        "together",
        "https://api.together.ai/v1",
        "TOGETHER_API_KEY",
        "openai/gpt-oss-120b",
        "Qwen/Qwen3.5-9B",
    ),
    KnownProvider(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
        "accounts/fireworks/models/gpt-oss-120b",
        "accounts/fireworks/models/gpt-oss-20b",
    ),
    KnownProvider(
        "xai",
        "https://api.x.ai/v1",
        "XAI_API_KEY",
        "grok-4-1-fast-non-reasoning",
        "grok-4-1-fast-non-reasoning",
    ),
    KnownProvider(
        "cerebras",
        "https://api.cerebras.ai/v1",
        "CEREBRAS_API_KEY",
        "gpt-oss-120b",
        "gpt-oss-120b",
    ),
)


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The configuration in force: `path`, else BATCHYARD_CONFIG, else ./batchyard.yaml where
    there is one, else what the environment's keys allow.

    Raises ConfigError that names the path in the file, what is wrong and the fix.
    """
    named = environ.get(CONFIG_VARIABLE)
    if path is None and named:
        path = Path(named).expanduser()
    if path is None and Path(CONFIG_FILE).is_file():
        path = Path(CONFIG_FILE)
    if path is None:
        settings = default_settings(environ)
        if problems := _plain_http(settings):
            raise ConfigError(told("the environment", problems, {}))
        return settings
    return read_settings(path, _plain_http)


def default_settings(environ: Mapping[str, str]) -> Settings:
    """The configuration without a file: every known provider whose key is set, with routes to
    the first of them; where no key is set, the simulator and the local model."""
    found = [known for known in KNOWN_PROVIDERS if environ.get(known.variable, "").strip()]
    return Settings.model_validate(_of_keys(found, environ) if found else _offline())


def _of_keys(found: list[KnownProvider], environ: Mapping[str, str]) -> dict[str, Any]:
    providers: dict[str, Any] = {}
    deployments: dict[str, Any] = {}
    for known in found:
        override = environ.get(known.base_url_variable or "", "").strip()
        base_url = override or known.base_url
        providers[known.name] = {"base_url": base_url, "api_key": f"env:{known.variable}"}
        for model in (known.model, known.cheap):
            deployments[_deployment_name(known, model)] = {"provider": known.name, "model": model}
    first = found[0]
    usual, cheap = _deployment_name(first, first.model), _deployment_name(first, first.cheap)
    both = list(dict.fromkeys((usual, cheap)))
    routes = {
        "default": {"candidates": [usual]},
        "cheap": {"candidates": both, "choose": "cheapest"},
    }
    return {"providers": providers, "deployments": deployments, "routes": routes}


def _deployment_name(known: KnownProvider, model: str) -> str:
    """Names a model by its last word, and by its provider where others serve it too."""
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", model.rsplit("/", 1)[-1])
    own = known.name == "openai" or word.startswith(known.name)
    return word if own else f"{known.name}-{word}"


def _offline() -> dict[str, Any]:
    prices = {
        "sim-small": {"input_per_mtok": "0.10", "output_per_mtok": "0.40"},
        "sim-large": {"input_per_mtok": "1.25", "output_per_mtok": "5.00"},
    }
    profile = {
        "seed": 7,
        "latency": {"kind": "lognormal", "ms": 120, "sigma": 0.4},
        "limits": {"rpm": 60_000, "tpm": 20_000_000, "in_flight": 512},
        "models": {
            name: {"accuracy": accuracy, "price": prices[name], "context": _SIM_CONTEXT}
            for name, accuracy in (("sim-small", 0.86), ("sim-large", 0.95))
        },
    }
    limits = {"rpm": 54_000, "tpm": 18_000_000, "in_flight": 256}
    simulated = {
        name: {
            "provider": "sim",
            "model": name,
            "limits": limits,
            "price": price,
            "context": _SIM_CONTEXT,
        }
        for name, price in prices.items()
    }
    # Nobody sends a bill for this machine: a price of zero that is known, not one unknown.
    free = {"input_per_mtok": 0, "output_per_mtok": 0}
    local = {
        "provider": "local",
        "model": LOCAL_MODEL,
        "limits": {"in_flight": 4},
        "price": free,
        "context": 1024,
    }
    return {
        "providers": {
            "sim": {"kind": "simulator", "profile": profile},
            "local": {"kind": "local", "timeout": 300},
        },
        "deployments": {**simulated, "local": local},
        "routes": {
            "default": {"candidates": list(prices)},
            "cheap": {"candidates": list(prices), "choose": "cheapest"},
            "local": {"candidates": ["local"], "max_output": 256},
        },
    }


def _plain_http(settings: Settings) -> list[Problem]:
    """Keys do not cross a network in the clear, unless someone said that they may."""
    return [
        Problem(
            ("providers", name, "base_url"),
            f"would send the key over plain http to {urlsplit(provider.base_url).hostname}",
            "Use https, or say plain_http: true if the network in between is yours",
        )
        for name, provider in settings.providers.items()
        if provider.base_url is not None
        and provider.references
        and urlsplit(provider.base_url).scheme == "http"
        and not provider.plain_http
        and not is_loopback(urlsplit(provider.base_url).hostname or "")
    ]
