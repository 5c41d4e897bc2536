"""Neighbour: which database a source is, whatever address leads to it, and which subscribers' sinks deliver into it."""

from __future__ import annotations

from contextlib import closing

import pymysql

from producers.mysql.link.connection import connect_mysql, texts
from producers.mysql.link.fault import GONE_TABLE, mysql_translated, number_in
from schemas.mysql_address import IDENTITY, address_of

_SINKS = "SELECT DISTINCT subscriber FROM `_mesh_offsets`"
_UNREADABLE = frozenset({GONE_TABLE, 1142, 1143})


def at(address: str) -> str:
    """Server and database of an address. Raises Misconfigured for what is none."""
    return address_of(address).name


def look(address: str, *, name: str) -> tuple[str, set[str]]:
    """The database's identity, and the subscribers whose sinks deliver into it, as far as the account may see that."""
    with closing(connect_mysql(address, name=name)) as connection, mysql_translated(name):
        [(identity,)] = texts(connection, IDENTITY)
        try:
            return identity, {subscriber for (subscriber,) in texts(connection, _SINKS)}
        except pymysql.MySQLError as error:
            if number_in(error) not in _UNREADABLE:
                raise
            return identity, set()
