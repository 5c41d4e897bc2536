"""Connection: how a subscriber's MariaDB or MySQL is entered, and what it means where that fails."""

from __future__ import annotations

import ssl

import pymysql
from pymysql.constants import CLIENT

from schemas.errors import MeshError, Misconfigured, Transient
from schemas.mysql_address import address_of
from sinks.mysql.fault import translate
from sinks.table.fault import FaultPlace

CONNECT_WITHIN_SECONDS = 10
ANSWER_WITHIN_SECONDS = 120


def connected(address: str, program: str) -> pymysql.Connection:
    """A connection that commits each statement. Raises Misconfigured for what is no address, and what PyMySQL does."""
    at = address_of(address)
    tls = at.tls()
    return pymysql.connect(
        host=at.host if at.host != "localhost" else "127.0.0.1",
        port=at.port,
        unix_socket=at.socket or None,
        user=at.user,
        password=at.password,
        database=at.database,
        charset="utf8mb4",
        autocommit=True,
        client_flag=CLIENT.FOUND_ROWS,
        connect_timeout=CONNECT_WITHIN_SECONDS,
        read_timeout=ANSWER_WITHIN_SECONDS,
        write_timeout=ANSWER_WITHIN_SECONDS,
        program_name=program,
        ssl=tls,  # pyright: ignore[reportArgumentType] -- PyMySQL's own documentation says that it may be a context
        ssl_disabled=tls is None,
    )


def number_of(error: pymysql.MySQLError) -> int:
    """The number of an error, the server's or the driver's; 0 without one."""
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def refusal(error: pymysql.MySQLError, subscriber: str) -> MeshError:
    """The error for a connection that did not come about."""
    cause, number = getattr(error, "original_exception", None), number_of(error)
    if isinstance(cause, ssl.SSLError):
        fix = (
            "name the authority of its certificate in the address (`?ssl-ca=/path/ca.pem`) and the host as the certificate does; "
            "`ssl-mode=REQUIRED` encrypts without asking who it is"
        )
        return Misconfigured(f"address of {subscriber}", "the server does not prove who it is", fix=fix)
    if number == 2026:
        fix = "let the server offer TLS, or write `ssl-mode=DISABLED` where nobody else is on the way to it"
        return Misconfigured(f"address of {subscriber}", "the server offers no TLS", fix=fix)
    found = translate(number, FaultPlace(), subscriber)
    if isinstance(found, Misconfigured):
        fix = "check the database, the account and its password, and from where it may come"
        return Misconfigured(f"address of {subscriber}", f"the server refuses the login (error {number})", fix=fix)
    return Transient(
        f"{subscriber}'s database does not answer (error {number})",
        fix="see whether it runs and can be reached from here",
    )
