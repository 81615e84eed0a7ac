"""Bytes in, bytes out. Three implementations behind core.ports.Transport, one contract suite.

direct      the hot path: the event loop's own sockets and httptools
pyreqwest   by way of a proxy: connections, TLS and HTTP in native code
httpx       everywhere else, and the pattern for a transport of one's own
"""

from typing import Literal

from core.errors import ConfigError
from core.ports import Transport
from providers.transport.direct_transport import DirectTransport
from providers.transport.httpx_transport import HttpxTransport
from providers.transport.pyreqwest_transport import PyreqwestTransport

TransportName = Literal["direct", "pyreqwest", "httpx"]


def make_transport(name: TransportName, *, max_connections: int) -> Transport:
    """A transport with room for `max_connections` calls at once, for one event loop.

    Raises ConfigError for another name.
    """
    if name == "direct":
        return DirectTransport(max_connections=max_connections)
    if name == "pyreqwest":
        return PyreqwestTransport(max_connections=max_connections)
    if name == "httpx":
        return HttpxTransport(max_connections=max_connections)
    raise ConfigError(f"there is no transport {name!r}. Choose direct, pyreqwest or httpx")
