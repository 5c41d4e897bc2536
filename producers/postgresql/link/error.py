"""What may be told of a PostgreSQL error: never its detail, and its message only where that cannot quote a row.

The message of a data exception quotes the value (`invalid input syntax for type integer: "…"`), and what a function raises may
say anything; so of those only the SQLSTATE and the names of table, column, type and constraint are told. All others speak of names,
rights, locks and the server's state.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLAIN_CLASSES = frozenset(
    ("08", "0A", "0L", "25", "26", "28", "2B", "34", "3B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "F0")
)
_SYNTAX = "42601"
"""Of a value too, such as a JSON path."""
_MEANINGS: Mapping[str, str] = {
    "22": "a value is not as its type or an operation needs it",
    "23": "a constraint is violated",
    "42": "a statement, or a path within a value, is not written as it must be",
    "38": "a function failed",
    "39": "a function failed",
    "P0": "a function raised an error",
    "XX": "an internal error of the server",
}
_OF_THE_CLIENT = re.compile(
    r"server closed the connection unexpectedly|SSL connection has been closed unexpectedly|wait timeout expired"
    r"|Connection (?:reset by peer|refused|timed out)|the connection is (?:closed|lost)|Broken pipe|No route to host"
    r"|could not (?:receive data from|send data to) server",
    re.IGNORECASE,
)
NAMES = ("table", "column", "type", "constraint")


def told(state: str, message: str, names: Mapping[str, str | None]) -> str:
    """An error of the server in words; `names` are those that it gives beside its message, by NAMES."""
    if state[:2] in _PLAIN_CLASSES and state != _SYNTAX:
        return " ".join(message.split())
    meaning = _MEANINGS.get(state[:2], "an error whose message may quote a row")
    where = ", ".join(f"{kind} {name}" for kind in NAMES if (name := names.get(kind)))
    return f"{meaning} (SQLSTATE {state}{f', {where}' if where else ''}); the server's own log has the message"


def broken(message: str) -> str:
    """A failure of the connection in words: the client's own, without what the server may have sent last."""
    found = list(dict.fromkeys(match.lower() for match in _OF_THE_CLIENT.findall(message)))
    return f"the connection broke: {', '.join(found)}" if found else "the connection broke"
