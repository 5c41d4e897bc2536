"""Preflight of a source of kind `push`: whether its address can be listened on, and whether its contracts' rows can be told apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from producers.finding import Finding
from producers.pushed.address import push_address
from producers.pushed.options import PushOptions
from producers.stated.zone import zone_of
from schemas.agreement.agency import SourceConfig
from schemas.contract import Contract
from schemas.form import read


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedTable:
    """What a department pushes: see `producers.finding.Provided`. Nothing is there to be copied first."""

    name: str
    is_whole_row: bool = True
    blocks: int = 0


def examine(
    config: SourceConfig, address: str, contracts: Sequence[Contract], *, name: str
) -> tuple[list[Finding], Mapping[str, PushedTable]]:
    """What stands in the way. Raises Misconfigured."""
    options = read(PushOptions, config.options, f"source {name}")
    zone_of(options.time_zone, name)
    push_address(address, f"source {name}, connection")
    found = [finding for contract in contracts for finding in _about(contract, options)]
    provided = {contract.feed: PushedTable(name=contract.table) for contract in contracts}
    return found, {} if found else provided


def _about(contract: Contract, options: PushOptions) -> Iterator[Finding]:
    if any(field.column == options.op_column for field in contract.fields):
        message = f"has a column {options.op_column}, which also says of a row that it is deleted"
        fix = "give the source another `op_column` among its options"
        yield Finding(severity="error", subject=contract.feed, message=message, fix=fix)
