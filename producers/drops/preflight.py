"""Preflight of a source of kind `files`: whether the folder is there, and whether the newest file of each table fits its contract."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from producers.drops.encoding import TextScan
from producers.drops.folder import DroppedFile, Inbox
from producers.drops.options import DropSourceOptions
from producers.drops.reading import open_reading
from producers.drops.statement import require_columns
from producers.finding import Finding
from producers.stated.staging import Refused
from producers.stated.zone import zone_of
from schemas.agreement.agency import SourceConfig
from schemas.contract import Contract
from schemas.form import read


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedTable:
    """The files of one table: see `producers.finding.Provided`."""

    name: str
    is_whole_row: bool
    blocks: int


def examine(
    config: SourceConfig, address: str, contracts: Sequence[Contract], *, name: str
) -> tuple[list[Finding], Mapping[str, DroppedTable]]:
    """What stands in the way, and what is there. Raises Misconfigured."""
    options = read(DropSourceOptions, config.options, f"source {name}")
    zone_of(options.time_zone, name)
    folder = Inbox(address, options, name)
    if not folder.path.is_dir() or not os.access(folder.path, os.R_OK | os.X_OK):
        fix = f"make {folder.path} on the host that captures, and let this user read it"
        return [Finding(severity="error", subject=name, message="its folder cannot be read", fix=fix)], {}
    found: list[Finding] = []
    provided: dict[str, DroppedTable] = {}
    for contract in contracts:
        table = contract.table.partition(".")[2]
        files = folder.files(table)
        provided[contract.feed] = DroppedTable(name=table, is_whole_row=True, blocks=len(files))
        found += _about(contract, files, options, table)
    is_clear = not any(finding.severity == "error" for finding in found)
    return found, provided if is_clear else {}


def _about(
    contract: Contract, files: Sequence[DroppedFile], options: DropSourceOptions, table: str
) -> Iterator[Finding]:
    if not files:
        message = f"no file of {table} is there yet"
        fix = f"drop {table}.csv, or {table}_<yyyymmdd>.csv; another name is the contract's gov.table, files.<name>"
        yield Finding(severity="warning", subject=contract.feed, message=message, fix=fix)
        return
    file = files[-1]
    subject = f"file {file.name}"
    try:
        scan = TextScan(file.path, subject, options.encoding)
        for _ in scan.pieces(is_text=file.path.suffix.lower() != ".xlsx"):
            pass
        reading = open_reading(file.path, scan.encoding, options, subject)
        try:
            header = reading.header()
            if header is not None:
                require_columns(contract, header, subject)
        finally:
            reading.close()
    except Refused as refusal:
        yield Finding(severity="warning", subject=contract.feed, message=refusal.problem, fix=refusal.fix)
