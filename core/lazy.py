"""Modules that take long to load, named where all imports stand, loaded at their first use.

Beside the true import, which only the type checker follows:

    if TYPE_CHECKING:
        from tasks.waves import wave
    else:
        wave = lazy("tasks.waves.wave")
"""

from importlib import import_module
from typing import Any


class _Lazy:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, item: str) -> Any:
        return getattr(import_module(self._name), item)


def lazy(name: str) -> Any:
    """The module of that name, imported when something of it is first asked for."""
    return _Lazy(name)
