"""Training keeps to one thread, whatever the process does beside it: arrays here are too small to
be worth sharing out, and threads that wait for each other cost four times the CPU. A process that
is to keep to one thread altogether says so before it loads the libraries (`core/one_thread.py`)."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

P = ParamSpec("P")
R = TypeVar("R")


def on_one_thread(work: Callable[P, R]) -> Callable[P, R]:
    """The same, with the numeric libraries kept to one thread as long as it runs."""

    @wraps(work)
    def alone(*given: P.args, **named: P.kwargs) -> R:
        with threadpool_limits(limits=1):
            return work(*given, **named)

    return alone
