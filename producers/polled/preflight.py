"""Preflight of a source of kind `polled`: whether its tables can be polled without harm, and without losing anything (PT-09)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from producers.finding import Finding
from producers.polled.link import PollLink
from producers.polled.options import PolledOptions
from producers.polled.statement import require_cursor
from producers.polled.table import PolledTable
from producers.stated.zone import zone_of
from schemas.agreement.agency import SourceConfig
from schemas.contract import Contract
from schemas.errors import ContractBroken
from schemas.form import read


@dataclass(frozen=True, slots=True, kw_only=True)
class PollableTable:
    """One table: see `producers.finding.Provided`."""

    name: str
    is_whole_row: bool
    blocks: int


def examine(
    config: SourceConfig, address: str, contracts: Sequence[Contract], *, name: str
) -> tuple[list[Finding], Mapping[str, PollableTable]]:
    """What stands in the way, and the tables that are there. Raises Misconfigured, Transient where the database does not answer."""
    options = read(PolledOptions, config.options, f"source {name}")
    zone_of(options.time_zone, name)
    found: list[Finding] = []
    provided: dict[str, PollableTable] = {}
    with closing(PollLink(address, name)) as link:
        for contract in contracts:
            try:
                with link.reading(contract.feed) as connection:
                    found += _about(connection, contract, options)
                    provided[contract.feed] = PollableTable(name=contract.table, is_whole_row=True, blocks=1)
            except ContractBroken as broken:
                found.append(Finding(severity="error", subject=contract.feed, message=broken.breach, fix=broken.fix))
    is_clear = not any(finding.severity == "error" for finding in found)
    return found, provided if is_clear else {}


def _about(connection: Connection, contract: Contract, options: PolledOptions) -> Iterator[Finding]:
    table, column = PolledTable(connection, contract, options.updated_column), options.updated_column
    name = contract.table.rpartition(".")[2]
    has_key = table.has_key(connection)
    if has_key is None:
        message = f"the dialect of its database does not say whether {', '.join(contract.key)} is unique"
        fix = "make sure that it is: of rows with one key, the whole reading is refused"
        yield Finding(severity="warning", subject=contract.feed, message=message, fix=fix)
    elif not has_key:
        key = ", ".join(each.name for each in table.key)
        fix = f"let the department run: ALTER TABLE {name} ADD PRIMARY KEY ({key}); or let gov.key name the table's own key"
        yield Finding(severity="error", subject=contract.feed, message=f"nothing keeps {key} unique", fix=fix)
    if not column:
        return
    require_cursor(table, contract, options)
    if table.has_index(connection) is False:
        fix = f'let the department run: CREATE INDEX {name}_{column} ON {name} ({column}); or poll whole tables: updated_column: ""'
        message = f"no index begins with {column}: every poll would read all of {contract.table}"
        yield Finding(severity="error", subject=contract.feed, message=message, fix=fix)
