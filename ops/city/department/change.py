"""Change: a row change of the living city, as it is said to any department's database."""

from __future__ import annotations

from typing import Any, NamedTuple


class RowChange(NamedTuple):
    """One row of `feed` is inserted, updated or deleted; `op` is Debezium's letter for it.

    An insert has the `values` of all columns in their contract's order, an update those of the `columns` that it changes, and it
    counts the row's version up. `key` is the row's key as it was; an insert has none.
    """

    feed: str
    op: str
    columns: tuple[str, ...]
    values: tuple[Any, ...]
    key: tuple[Any, ...]
