"""What a server must be set to, and what our account may do there; each finding has the statement that mends it (MY-01)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pymysql

from producers.finding import Finding
from producers.mysql.link.connection import texts, variables

_OLDEST = [10, 6]
_WANTED = {
    "binlog_format": ("ROW", "changes would be logged as statements, whose rows are not told"),
    "binlog_row_image": ("FULL", "rows would be logged without all of their columns"),
    "binlog_row_metadata": ("FULL", "the log would not name columns, and an altered table's rows would be read wrong"),
}
_NOTED = ("log_bin", "server_id", "gtid_strict_mode", "binlog_checksum", "version", *_WANTED)
_RIGHTS = {
    "REPLICATION SLAVE": r"REPLICATION (?:SLAVE|REPLICA)\b(?! ADMIN)",
    "BINLOG MONITOR": r"BINLOG MONITOR|REPLICATION CLIENT",
}


def server_findings(connection: pymysql.Connection[Any], name: str, replica_id: int) -> Iterator[Finding]:
    """What stands in the way on the server. Raises what PyMySQL raises."""
    now = variables(connection, *_NOTED)
    numbers = re.search(r"(\d+)\.(\d+)", now.get("version", ""))
    version = [int(numbers[1]), int(numbers[2])] if numbers else []
    if version < _OLDEST:
        yield _error("server", f"is MariaDB {now.get('version')}", "upgrade to 10.6 or newer")
    if now.get("log_bin") != "ON":
        fix = (
            "add log_bin=binlog, server_id=<a number of its own> and binlog_format=ROW under [mariadb], then restart it"
        )
        yield _error("server", "writes no binary log (log_bin)", fix)
        return
    for setting, (wanted, why) in _WANTED.items():
        if now.get(setting, "").upper() != wanted:
            fix = f"SET GLOBAL {setting} = '{wanted}' -- and under [mariadb] in its configuration, so that it outlives a restart"
            yield _error("server", f"{setting} is {now.get(setting) or 'not known'}: {why}", fix)
    if now.get("gtid_strict_mode") != "ON":
        fix = "SET GLOBAL gtid_strict_mode = ON -- and under [mariadb] in its configuration, so that it outlives a restart"
        yield _error("server", "gtid_strict_mode is OFF: transactions might be numbered out of order", fix)
    if now.get("binlog_checksum", "").upper() == "NONE":
        fix = "SET GLOBAL binlog_checksum = 'CRC32'"
        yield Finding(
            severity="warning", subject="server", message="events have no checksum (binlog_checksum)", fix=fix
        )
    yield from _account(connection)
    yield from _clash(connection, name, replica_id, now)


def _account(connection: pymysql.Connection[Any]) -> Iterator[Finding]:
    [row] = texts(connection, "SELECT CURRENT_USER()")
    user, _, host = row[0].rpartition("@")
    granted = " ".join(line for (line,) in texts(connection, "SHOW GRANTS") if " ON *.* " in line)
    missing = [
        right
        for right, pattern in _RIGHTS.items()
        if not re.search(pattern, granted) and "GRANT ALL PRIVILEGES ON *.*" not in granted
    ]
    if missing:
        fix = f"GRANT {', '.join(missing)} ON *.* TO '{user}'@'{host}'"
        yield _error("account", f"lacks {', '.join(missing)}", fix)
        return
    [[_, _, does, ignores]] = texts(connection, "SHOW MASTER STATUS")
    if does or ignores:
        fix = "remove binlog_do_db and binlog_ignore_db from its configuration, and restart it"
        yield _error("server", "leaves databases out of its log (binlog_do_db, binlog_ignore_db)", fix)


def _clash(connection: pymysql.Connection[Any], name: str, replica_id: int, now: dict[str, str]) -> Iterator[Finding]:
    """MY-10: two replicas of one number throw each other out for ever."""
    fix = "give the source another number: options: {server_id: <one that nobody has>}"
    if now.get("server_id") == str(replica_id):
        yield _error("option server_id", f"{replica_id} is the server's own", fix)
    try:
        others = texts(connection, "SHOW SLAVE HOSTS")
    except pymysql.MySQLError:
        return  # without the right to see them a clash shows by the log's end
    for number, host, *_ in others:
        if number == str(replica_id) and host != f"mesh {name}"[:60]:
            yield _error("option server_id", f"{replica_id} is another replica's ({host or 'which says no name'})", fix)


def _error(subject: str, message: str, fix: str) -> Finding:
    return Finding(severity="error", subject=subject, message=message, fix=fix)
