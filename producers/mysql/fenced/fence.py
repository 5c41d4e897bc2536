"""Fence: the moment at which a table of MariaDB and its feed must be equal, and the table as it was then.

`START TRANSACTION WITH CONSISTENT SNAPSHOT` stands at a place of the log that the server tells: the snapshot has what was committed
before it, and nothing else (MY-15). Capture has come that far once it has the transactions that the log ended with right after.
"""

from __future__ import annotations

import time
from typing import Any

import pymysql

from producers.fenced.table import FenceSetting
from producers.mysql.fenced.table import FencedMysqlTable, table_of
from producers.mysql.link.connection import asked, connect_mysql, texts, variables
from producers.mysql.link.fault import mysql_translated
from producers.mysql.place import LogPlace, place_in_log
from schemas.errors import ContractBroken, Transient

PAUSE_SECONDS = 0.5
_HELD = "SET SESSION max_statement_time = 0, idle_transaction_timeout = 0, idle_readonly_transaction_timeout = 0"


def take(setting: FenceSetting) -> FencedMysqlTable:
    """See `producers.fenced.table.Fencing`."""
    name = setting.entry.contract.source_name
    place = _live(setting)
    connection = connect_mysql(setting.address, name=f"{name} verify")
    try:
        with mysql_translated(name):
            _same_server(connection, place, name)
            asked(connection, _HELD)
            asked(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            status = {row[0]: row[1] for row in texts(connection, "SHOW STATUS LIKE 'binlog_snapshot_%'")}
            at = place_in_log(status["Binlog_snapshot_file"], int(status["Binlog_snapshot_position"]))
            [(gtids,)] = texts(connection, "SELECT @@global.gtid_binlog_pos")
            return FencedMysqlTable(setting, place, connection, at, gtids)
    except BaseException:
        connection.close()
        raise


def _live(setting: FenceSetting) -> LogPlace:
    """The source's place, once the feed's table is copied."""
    while True:
        place = LogPlace.from_json(setting.record())
        try:
            table_of(place, setting.entry.contract)
        except Transient as error:
            if time.monotonic() > setting.deadline:
                raise
            setting.waiting(error.problem)
            time.sleep(PAUSE_SECONDS)
        else:
            return place


def _same_server(connection: pymysql.Connection[Any], place: LogPlace, name: str) -> None:
    server = variables(connection, "server_id", "log_bin_basename")
    if place.server != f"{server['server_id']} {server['log_bin_basename']}":
        raise ContractBroken(
            f"source {name}", "the address leads to another server than is captured", fix=f"`mesh resync {name}`"
        )
