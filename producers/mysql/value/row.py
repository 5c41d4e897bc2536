"""Rows: the images of the log, and those of a SELECT, as key and row in Avro, by one contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from producers.mysql.binlog.table_map import LogColumn
from producers.mysql.link.catalog import MysqlColumn, Shape
from producers.mysql.value.avro import Write, writer
from producers.mysql.value.family import Family, Read, Unread, family_of
from producers.mysql.value.misfit import NoBranch, Unpaired
from schemas.contract import Contract, Field
from schemas.errors import ContractBroken, Rejected
from schemas.wire.envelope import frame

Image = Sequence[bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedField:
    """A field with its column. `null` is None where NULL may not be."""

    field: Field
    column: MysqlColumn
    family: Family
    write: Write
    null: bytes | None


def paired(contract: Contract, columns: Mapping[str, MysqlColumn]) -> list[PairedField]:
    """The fields of a contract with the columns of a table, in contract order. Raises Unpaired for the first that has none."""
    found: list[PairedField] = []
    for field in contract.fields:
        column = columns.get(field.column)
        if column is None:
            raise Unpaired(
                f"column {field.column} is not in the table; remove it from the contract, or correct its `column`"
            )
        try:
            family = family_of(column)
            write, null = writer(family, field)
            check_held(column, field)
        except (Unread, Unpaired) as error:
            raise Unpaired(f"column {field.column} ({column.declared}): {error}") from None
        found.append(PairedField(field=field, column=column, family=family, write=write, null=null))
    return found


def check_held(column: MysqlColumn, field: Field) -> None:
    """Raises Unpaired where the column was made for numbers that the field's type does not hold."""
    branch = field.branches[0]
    if branch == "int" and (column.type == "bigint" or (column.type == "int" and column.is_unsigned)):
        raise Unpaired("its numbers do not go into int; use long")
    if isinstance(branch, dict) and branch.get("logicalType") == "decimal" and column.type == "decimal":
        whole = branch["precision"] - branch.get("scale", 0)
        if column.precision - column.scale > whole:
            raise Unpaired(f"it has more than {whole} digits before its point; give the field a greater precision")


class RowCoder:
    """Images to Avro for one contract and one layout of its table.

    Without the log's columns it takes the cells of a SELECT, in contract order. Raises ContractBroken where the log has not the
    columns that the table was found to have.
    """

    def __init__(
        self,
        contract: Contract,
        pairs: Sequence[PairedField],
        key_schema_id: int,
        log: Sequence[LogColumn] | None = None,
    ) -> None:
        self._feed = contract.feed
        self._framed = frame(key_schema_id)
        by_name = {column.name: (place, column) for place, column in enumerate(log or ())}
        self._cells: list[tuple[int, Read, Write, bytes | None, str]] = []
        for place, pair in enumerate(pairs):
            at, read = place, pair.family.from_text
            if log is not None:
                at, read = self._logged(pair, by_name)
            self._cells.append((at, read, pair.write, pair.null, pair.field.name))
        order = {pair.field.name: place for place, pair in enumerate(pairs)}
        self._key_places = [order[name] for name in contract.key]
        self._key = [self._cells[place] for place in self._key_places]
        self._is_key = [pair.field.is_key for pair in pairs]

    def _logged(self, pair: PairedField, by_name: Mapping[str, tuple[int, LogColumn]]) -> tuple[int, Read]:
        name = pair.column.name
        place, column = by_name.get(name, (0, None))
        if column is None or column.kind not in pair.family.kinds:
            raise ContractBroken(
                self._feed,
                f"column {name} is not in the log as the table had it",
                fix=f"`mesh resync {self._feed}` copies it as it is now",
            )
        return place, pair.family.from_log(column)

    def row(self, image: Image) -> tuple[bytes, bytes]:
        """Framed key and row. Raises Rejected for a value that no branch holds, and for text that its character set does not read."""
        cells = self._written(image, self._cells)
        return self._framed + b"".join([cells[place] for place in self._key_places]), b"".join(cells)

    def key(self, image: Image) -> bytes:
        """The framed key alone."""
        return self._framed + b"".join(self._written(image, self._key))

    def keyed_row(self, image: Image) -> bytes:
        """A row of which only the key is given, for an old one of which another value fits no branch."""
        written = iter(
            self._written(image, [cell for cell, is_key in zip(self._cells, self._is_key, strict=True) if is_key])
        )
        return b"".join(next(written) if is_key else b"\0" for is_key in self._is_key)

    @staticmethod
    def _written(image: Image, cells: Sequence[tuple[int, Read, Write, bytes | None, str]]) -> list[bytes]:
        """Each cell with its branch index."""
        out: list[bytes] = []
        name = ""
        try:
            for place, read, write, null, name in cells:
                raw = image[place]
                if raw is not None:
                    out.append(write(read(raw)))
                elif null is not None:
                    out.append(null)
                else:
                    raise Rejected("null_key", f"column {name} is NULL, and the key may not be")
        except NoBranch as error:
            raise Rejected(error.reason, f"column {name} holds what its type in the contract cannot") from None
        except UnicodeDecodeError:
            raise Rejected(
                "text_encoding", f"column {name} holds bytes that are no text in its character set"
            ) from None
        return out


def select_list(pairs: Sequence[PairedField]) -> str:
    """What a SELECT asks for, in contract order."""
    return ", ".join(pair.family.select.format("`{}`".format(pair.column.name.replace("`", "``"))) for pair in pairs)


def shape_of(pairs: Sequence[PairedField]) -> dict[str, Shape]:
    """The columns that a contract's rows are read from, as they were declared."""
    return {pair.column.name: pair.column.shape for pair in pairs}


__all__ = ["PairedField", "RowCoder", "Unpaired", "paired", "select_list", "shape_of"]
