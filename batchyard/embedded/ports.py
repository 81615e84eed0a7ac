"""Free TCP ports of 127.0.0.1, each for one yard of this machine.

Between finding a port free and a server's listening there pass seconds, in which another yard may
find the same one. So whoever takes a port holds the UDP port of the same number, where nobody of
us listens: binding it is one step, leaves nothing on disk, and ends with the process, however that
ends.
"""

import socket
from random import SystemRandom
from typing import Final

# Below the ephemeral range of Linux and macOS: a client that keeps reconnecting to an ephemeral
# port of a dead server can connect to itself, and then the server never gets its port back.
_PORTS: Final = range(15_000, 32_000)

_HOST: Final = "127.0.0.1"
_TRIES: Final = 1000

# By port: for whom this process holds it, and by what.
_held: Final[dict[int, tuple[str, socket.socket]]] = {}


def take_port(port: int, owner: str) -> bool:
    """Whether a server of `owner` may listen on this port, for as long as this process lives.
    False where somebody listens there, or may be about to."""
    if not _is_free(port):
        return False
    if port in _held:
        return _held[port][0] == owner
    token = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        token.bind((_HOST, port))
    except OSError:
        token.close()
        return False
    _held[port] = owner, token
    return True


def free_port(owner: str = "", *, exclude: set[int] | frozenset[int] = frozenset()) -> int:
    """A random free port outside the ephemeral range, taken for `owner`."""
    random = SystemRandom()
    for _ in range(_TRIES):
        port = random.choice(_PORTS)
        if port not in exclude and port not in _held and take_port(port, owner):
            return port
    raise OSError(f"no free port between {_PORTS[0]} and {_PORTS[-1]} on {_HOST}")


def _is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True
