"""What an error of the server or of the driver means for a source; the server's own text stays out where it may quote values."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pymysql

from schemas.errors import ContractBroken, MeshError, Misconfigured, Transient

LOG_READ_FAILED = 1236
GONE_TABLE, GONE_COLUMN = 1146, 1054
_ACCOUNT = frozenset(
    {1044, 1045, 1049, 1130, 1131, 1132, 1133, 1251, 1524, 1698, 1820, 1862, 2049, 2054, 2058, 2059, 2061}
)
_RIGHTS = frozenset({1142, 1143, 1227, 1370})


def number_in(error: pymysql.MySQLError) -> int:
    """The number of an error, the server's or the driver's; 0 without one."""
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


@contextmanager
def mysql_translated(name: str) -> Iterator[None]:
    """Errors of the driver within become ours; `name` is `<agency>.<source>`."""
    try:
        yield
    except pymysql.MySQLError as error:
        raise meaning(error, name) from error
    except OSError as error:
        raise Transient(f"source {name}: its connection was lost ({type(error).__name__})") from error


def meaning(error: pymysql.MySQLError, name: str) -> MeshError:
    """The error in our terms."""
    number = number_in(error)
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLError):
        fix = "name the authority of its certificate in the address (`?ssl-ca=/path/ca.pem`) and the host as the certificate does"
        return Misconfigured(f"source {name}", "the server does not prove who it is", fix=fix)
    if number == 2026:
        fix = "let the server offer TLS, or write `ssl-mode=DISABLED` where nobody else is on the way to it"
        return Misconfigured(f"source {name}", "the server offers no TLS", fix=fix)
    if number in _ACCOUNT:
        fix = "check the database, the account and its password, and from where it may come"
        return Misconfigured(f"source {name}", f"the server refuses the login (error {number})", fix=fix)
    if number in _RIGHTS:
        fix = "`mesh check` names the statement that gives the account what it lacks"
        return Misconfigured(f"source {name}", f"the account lacks a right (error {number})", fix=fix)
    return Transient(
        f"source {name}: the database does not answer (error {number})", fix="see whether it runs and can be reached"
    )


def log_lost(name: str, said: str) -> ContractBroken:
    """The log does not go on where we are: what is missing can only be copied (invariant 9)."""
    fix = f"`mesh resync {name}` copies its tables anew, and subscribers lose what is gone"
    return ContractBroken(f"source {name}", f"the binary log does not go on where capture is: {said}", fix=fix)
