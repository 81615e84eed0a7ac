"""How each kind of provider wants to be asked: pure functions, a row per kind.

`build(deployment, key, body, ...)` makes the HTTP call, `parse(status, headers, body)` reads
the answer. No adapter does any I/O.
"""

from typing import Final

from core.errors import ConfigError
from providers.adapters.openai import OpenAIAdapter

Adapter = OpenAIAdapter

_OPENAI: Final = OpenAIAdapter()

_ADAPTERS: Final[dict[str, Adapter]] = {
    "openai": _OPENAI,
    "simulator": _OPENAI,
    "local": _OPENAI,
}


def adapter_for(kind: str) -> Adapter:
    """The adapter of a provider kind; ConfigError for a kind that there is not."""
    adapter = _ADAPTERS.get(kind)
    if adapter is None:
        raise ConfigError(
            f"there is no provider kind {kind!r}. Use one of {', '.join(_ADAPTERS)}; "
            "most providers answer to openai with their own base_url"
        )
    return adapter
