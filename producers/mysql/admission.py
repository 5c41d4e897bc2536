"""What a table must be before its changes can be captured without loss (MY-15, MY-17)."""

from __future__ import annotations

from producers.finding import Finding
from producers.mysql.link.catalog import SourceTable
from producers.mysql.link.connection import spelled_name
from producers.mysql.value.misfit import Unpaired
from schemas.agreement.directory import FeedEntry
from schemas.contract import Contract


def key_columns(contract: Contract, table: SourceTable) -> list[str]:
    """The columns that the table is paged by: its index over exactly the contract's key. Raises Unpaired without one."""
    wanted = [contract.by_name[name].column for name in contract.key]
    for key in table.keys:
        if sorted(key) == sorted(wanted):
            if any(table.columns[column].type in ("float", "double") for column in key):
                raise Unpaired("has a key of floating point numbers, which nothing compares exactly")
            return list(key)
    listed = ", ".join(wanted)
    raise Unpaired(
        f"has no primary key or unique index over NOT NULL columns {listed}, which is the contract's key; "
        f"name the columns of such an index in gov.key, or let the department run: "
        f"ALTER TABLE {spelled_name(table.name)} ADD PRIMARY KEY ({listed})"
    )


def fault_of(table: SourceTable, entry: FeedEntry) -> Finding | None:
    """The first thing about a table by which changes would be lost."""
    return next(iter(faults_of(table, entry.feed)), None)


def faults_of(table: SourceTable, feed: str) -> list[Finding]:
    """All of them; each fix is a statement."""
    name = spelled_name(table.name)
    if table.kind != "BASE TABLE":
        fix = "name the tables behind it in contracts of their own"
        return [_error(feed, f"{table.name} is a {table.kind.lower()}, whose changes are not in the log", fix)]
    found: list[Finding] = []
    if table.engine.lower() != "innodb":
        message = f"table {table.name} has the engine {table.engine}, of which no consistent copy can be read"
        found.append(_error(feed, message, f"ALTER TABLE {name} ENGINE=InnoDB"))
    if table.cascades:
        message = (
            f"foreign keys of {table.name} change its rows by ON DELETE or ON UPDATE, and the log does not tell that: "
            f"{', '.join(table.cascades)}"
        )
        dropped = ", ".join("DROP FOREIGN KEY `{}`".format(each.replace("`", "``")) for each in table.cascades)
        fix = f"ALTER TABLE {name} {dropped}"
        found.append(
            _error(feed, f"{message}; add them again without these, and let the application change the rows", fix)
        )
    return found


def _error(subject: str, message: str, fix: str) -> Finding:
    return Finding(severity="error", subject=subject, message=message, fix=fix)
