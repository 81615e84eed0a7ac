"""Provider keys, resolved by reference when first needed and kept in this process only."""

from core.settings import Settings
from providers.secrets import resolve_secret


class Keyring:
    """Gives a provider's key; never prints one."""

    def __init__(self, settings: Settings) -> None:
        self._references = {name: one.api_key for name, one in settings.providers.items()}
        self._keys: dict[str, str | None] = {}

    def get(self, provider: str) -> str | None:
        """The key, or None for a provider that needs none. Raises ConfigError with the
        remedy when the reference leads nowhere."""
        if provider not in self._keys:
            reference = self._references.get(provider)
            self._keys[provider] = None if reference is None else resolve_secret(reference)
        return self._keys[provider]

    def __repr__(self) -> str:
        return f"Keyring({sorted(self._references)})"
