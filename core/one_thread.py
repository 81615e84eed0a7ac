"""Arithmetic on one thread.

The numeric libraries share every product out among as many threads as the machine has cores, and
the ones that wait for the next product spin meanwhile. Here arrays are small, and a process is one
of several on the machine: the rest is kept busy by those.
"""

from collections.abc import MutableMapping
from types import MappingProxyType
from typing import Final

ONE_THREAD: Final = MappingProxyType(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
)
"""What the libraries read of a process' environment when they are loaded."""


def keep_to_one_thread(environ: MutableMapping[str, str]) -> None:
    """Before the libraries are loaded; an operator's own numbers are left as they are."""
    for name, threads in ONE_THREAD.items():
        environ.setdefault(name, threads)
