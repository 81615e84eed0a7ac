"""What a process of ours that only does arithmetic is handed: no key of ours, and one thread."""

import os
from typing import Final

from core.one_thread import ONE_THREAD

_HANDED_ON: Final = ("PATH", "PYTHONPATH", "HOME", "LANG", "LD_LIBRARY_PATH")


def child_environment() -> dict[str, str]:
    """The environment of such a child."""
    known = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    return known | dict(ONE_THREAD)
