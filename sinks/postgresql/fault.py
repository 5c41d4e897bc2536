"""Faults: what an SQLSTATE of a subscriber's database means for the lane; the server's own text stays out, since it quotes values.

| SQLSTATE                                               | means                    | becomes                                       |
|--------------------------------------------------------|--------------------------|-----------------------------------------------|
| none, 08, 53, 57, 58, 26, 72, XX000, 25006, 42P05       | the server is unwell     | Transient                                     |
| 40, 55P03, 55006, 57014, of a statement of one table   | somebody is in the way   | NotYet: others first; a dead letter in the end |
| 23503, 23505, 23P01, 23001                             | other rows are to come   | NotYet: the same, sooner                      |
| the rest of 22 and 23; 21, 27, 38, 39, 44, 54, P0, 08P01 | this row               | Rejected                                      |
| whatever a trigger raises by RAISE, and states of no class that PostgreSQL has | this row | Rejected                              |
| 28, 3D, 0L, 0P                                         | the account              | Misconfigured                                 |
| 42P01, 42703, 3F000                                    | a table or column went   | Undefined: looked at again at once            |
| anything else, such as 42501 (SK-07)                    | the table                | TopicTrouble                                  |
"""

from __future__ import annotations

from schemas.errors import ContractBroken, MeshError, Misconfigured, Rejected, Transient
from sinks.sink import NotYet, TopicTrouble
from sinks.table.fault import BUSY_WITHIN_SECONDS, FaultPlace, Undefined

_UNWELL = frozenset({"08", "53", "57", "58", "26", "72"})
_UNWELL_STATES = frozenset({"XX000", "25006", "25P03", "25P04", "42P05"})
_BUSY = frozenset({"55P03", "55006", "57014"})
_EARLY = frozenset({"23503", "23505", "23P01", "23001"})
_ROW = frozenset({"22", "23", "21", "27", "38", "39", "44", "54", "P0"})
_ACCOUNT = frozenset({"28", "3D", "0L", "0P"})
_UNDEFINED = frozenset({"42P01", "42703", "3F000"})
_OF_POSTGRESQL = (
    _UNWELL
    | _ROW
    | _ACCOUNT
    | frozenset(
        "00 01 02 03 09 0A 0B 0F 0Z 20 24 25 2B 2D 2F 34 3B 3F 40 42 55 F0 HV XX".split()  # noqa: SIM905 -- reads better
    )
)


def translate(state: str | None, where: FaultPlace, subscriber: str) -> MeshError:  # noqa: PLR0911 -- a line per row of the table
    """The error for an SQLSTATE; no state is a lost connection."""
    name = f"{subscriber}'s database"
    if state == "08P01":
        return Rejected("sql_08P01", f"{where}: a value is not in PostgreSQL's binary form")
    if state and where.topic and (state[:2] == "40" or state in _BUSY):
        return NotYet(where.topic, f"sql_{state}", f"{where}: SQLSTATE {state}", within_seconds=BUSY_WITHIN_SECONDS)
    if state in _EARLY:
        return NotYet(where.topic, f"sql_{state}", f"{where}: refused with SQLSTATE {state}")
    if not state or state[:2] in _UNWELL | {"40"} or state in _UNWELL_STATES | _BUSY:
        return Transient(f"{name}: {state or 'connection lost'} {where}".rstrip())
    if state[:2] in _ROW or where.is_raised or state[:2] not in _OF_POSTGRESQL:
        return Rejected(f"sql_{state}", f"{where}: refused with SQLSTATE {state}")
    if state[:2] in _ACCOUNT:
        return Misconfigured(
            name, f"refuses us with SQLSTATE {state}", fix="check the address, the account and its rights"
        )
    problem = f"SQLSTATE {state} {where}".rstrip()
    if state == "42501":
        problem = f"the account lacks a right: {problem}"
    fix = "mend the table, its triggers and its rights; delivery tries again by itself"
    if state in _UNDEFINED:
        undefined = Undefined(name, problem, fix=fix)
        undefined.topic = where.topic
        return undefined
    broken = ContractBroken(name, problem, fix=fix)
    return TopicTrouble(where.topic, broken) if where.topic else broken
