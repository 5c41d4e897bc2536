"""Columns that a grant no longer names leave the subscriber's table, and records written before bring them in no more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from schemas.wire.name import column_name
from sinks.row import WireColumn, columns_of, row_record
from sinks.table.reading import ReadRun, Taken

_logger = logging.getLogger(__name__)


def wire_names(envelope: Mapping[str, Any]) -> frozenset[str]:
    """The columns that an envelope's row has, as they are called on the wire."""
    return frozenset(column.wire for column in columns_of(row_record(envelope)))


class DeliveredColumns(Protocol):
    """What one database knows of the columns that were delivered to it (`_mesh_tables`)."""

    def delivered(self, topic: str) -> Iterable[tuple[str, Collection[str]]]:
        """The topic's table, if it has one, and the columns that we made or filled in it."""
        ...

    def remove(self, topic: str, name: str, gone: Sequence[str]) -> None:
        """Let go of these columns of the table, and forget them.

        Where the table is ours the column is dropped; where it is not, or something of the department's depends on the column,
        its values are set to null.
        """
        ...


class Narrowed:
    """What the present grants let the tables of one sink have, by topic.

    A grant that names more is heard of here after the first records that have it: streams hears of grants by itself. So before
    anything is cut from a record `present_columns` asks what the grant names now; None where there is none.
    """

    def __init__(
        self, columns: DeliveredColumns, subscriber: str, present_columns: Callable[[str], frozenset[str] | None]
    ) -> None:
        self._columns = columns
        self._subscriber = subscriber
        self._present_columns = present_columns
        self._permitted: dict[str, frozenset[str]] = {}
        self._cut: set[str] = set()

    def permit(self, topic: str, envelope: Mapping[str, Any]) -> bool:
        """No columns but this schema's from now on; whether that is news, or any had to go."""
        permitted = wire_names(envelope)
        named = permitted | set(map(column_name, permitted))
        is_news = self._permitted.get(topic) != permitted
        self._permitted[topic] = permitted
        gone: list[str] = []
        for name, known in self._columns.delivered(topic):
            gone = sorted(set(known) - named)
            if gone:
                self._columns.remove(topic, name, gone)
                _logger.info("%s: table %s no longer has %s", self._subscriber, name, ", ".join(gone))
        return is_news or bool(gone)

    def cut_since(self) -> set[str]:
        """Topics with records that were cut since last asked: whether they still are to be is asked again for each batch."""
        cut, self._cut = self._cut, set()
        return cut

    def permitted(
        self, topic: str, columns: tuple[WireColumn, ...], read: ReadRun
    ) -> tuple[tuple[WireColumn, ...], ReadRun]:
        """Those of a record's columns that may still be taken, and how they are read."""
        permitted = self._permitted.get(topic)
        wanted = {column.wire for column in columns}
        if permitted is not None and not wanted <= permitted and (present := self._present_columns(topic)) is not None:
            permitted = self._permitted[topic] = present
        if permitted is None or wanted <= permitted:
            return columns, read
        self._cut.add(topic)
        places = [place for place, column in enumerate(columns) if column.wire in permitted]

        def cut(taken: Taken) -> Taken:
            if taken.cells is None:
                return taken
            return taken._replace(cells=tuple(taken.cells[place] for place in places))

        def take(messages: Sequence[bytes]) -> Iterable[Taken]:
            return map(cut, read(messages))

        return tuple(columns[place] for place in places), take
