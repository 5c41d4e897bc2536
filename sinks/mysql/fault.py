"""Faults: what an error number of a subscriber's database means for the lane; the server's own text stays out: it quotes values.

| number                                              | means                  | becomes                                        |
|-----------------------------------------------------|------------------------|------------------------------------------------|
| 1205, 1213, 1020, 1206, of a statement of one table | somebody is in the way | NotYet: others first; a dead letter in the end |
| 1062, 1169, 1586, 1451, 1452, 1216; our 1365        | other rows are to come | NotYet: the same, sooner                       |
| 2000 to 2099; connections, shutdown, read-only, room | the server is unwell   | Transient                                      |
| what a type cannot hold, CHECK, a trigger's SIGNAL  | this row               | Rejected                                       |
| login, database, TLS, plugin of authentication      | the account            | Misconfigured                                  |
| 1146, 1054, 1364, 1906 and the like                 | a table was altered    | Undefined: looked at again at once             |
| anything else, such as 1142 (SK-07)                  | the table              | TopicTrouble                                   |
"""

from __future__ import annotations

from schemas.errors import ContractBroken, MeshError, Misconfigured, Rejected, Transient
from sinks.sink import NotYet, TopicTrouble
from sinks.table.fault import BUSY_WITHIN_SECONDS, FaultPlace, Undefined

CONFLICT = 1365
"""Division by zero: what our upsert does where a row stands in the way that has another primary key (table/table.py)."""
CONFLICTS = ("sql_1062", "sql_1169", "sql_1586", f"sql_{CONFLICT}")
DATA_CLIPPED = 1265

_BUSY = frozenset({1205, 1213, 1020, 1206, 1614})
_EARLY = frozenset({1062, 1169, 1586, 1451, 1452, 1216, 1217, 1557, 1761, 1762, CONFLICT})
_UNWELL = frozenset(
    {
        *(1021, 1023, 1024, 1026, 1030, 1036, 1037, 1038, 1040, 1041, 1042, 1043, 1047, 1053, 1077, 1078, 1079, 1080),
        *(1114, 1129, 1135, 1152, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161, 1180, 1181, 1184, 1189, 1190, 1194),
        *(1195, 1203, 1226, 1290, 1297, 1298, 1317, 1637, 1792, 1836, 1927, 1969, 3024, 3032, 3169, 4031, 1815, 1290),
    }
)
_ROW = frozenset(
    {
        *(1048, 1118, 1138, 1153, 1162, 1230, 1263, 1264, DATA_CLIPPED, 1292, 1300, 1301, 1366, 1367, 1406, 1411, 1416),
        *(1425, 1441, 1452, 1525, 1582, 1643, 1644, 1645, 1690, 1367, 3140, 3141, 3143, 3156, 3157, 3158, 3819, 3903),
        *(4025, 4037, 4038),
    }
)
_ACCOUNT = frozenset(
    {
        *(1044, 1045, 1049, 1102, 1130, 1131, 1132, 1133, 1251, 1275, 1396, 1524, 1698, 1820, 1862, 1873, 3118, 3159),
        *(3878, 4151, 2026, 2049, 2054, 2058, 2059, 2061),
    }
)
_UNDEFINED = frozenset({1146, 1054, 1051, 1932, 1109, 1136, 1364, 1906, 3105})


def translate(  # noqa: PLR0911 -- a line per row of the table
    number: int, where: FaultPlace, subscriber: str, fix: str = ""
) -> MeshError:
    """The error for a number of the server's, or of the driver's; 0 is a lost connection. `fix` is what repairs the table."""
    name = f"{subscriber}'s database"
    if where.topic and number in _BUSY:
        return NotYet(
            where.topic, f"sql_{number}", f"{where}: error {number}", within_seconds=BUSY_WITHIN_SECONDS, fix=fix
        )
    if where.topic and number in _EARLY:
        return NotYet(where.topic, f"sql_{number}", f"{where}: refused with error {number}", fix=fix)
    if number in _ACCOUNT:
        return Misconfigured(
            name, f"refuses us with error {number}", fix="check the address, the account and its rights"
        )
    if number == 0 or 2000 <= number < 2100 or number in _UNWELL | _BUSY:
        return Transient(f"{name}: {f'error {number}' if number else 'connection lost'} {where}".rstrip())
    if number in _ROW:
        return Rejected(f"sql_{number}", f"{where}: refused with error {number}", fix=fix)
    problem = f"error {number} {where}".rstrip()
    if number in {1142, 1143, 1227, 1370}:
        problem = f"the account lacks a right: {problem}"
    fix = fix or "mend the table, its triggers and its rights; delivery tries again by itself"
    if number in _UNDEFINED:
        undefined = Undefined(name, problem, fix=fix)
        undefined.topic = where.topic
        return undefined
    broken = ContractBroken(name, problem, fix=fix)
    return TopicTrouble(where.topic, broken) if where.topic else broken
