"""PostgreSQL as a kind of source: departments' tables by logical replication."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from producers.draft import Drafted
from producers.fenced.table import FencedTable, FenceSetting
from producers.finding import Finding, Provided
from producers.kind import SourceKind, Successor
from producers.postgresql.options import PostgresSourceOptions
from producers.source import Source, SourceSetting
from schemas.agreement.agency import SourceConfig
from schemas.agreement.anchor import Anchor
from schemas.contract import Contract


def _open(setting: SourceSetting) -> Source:
    from producers.postgresql.source import PostgresSource

    return PostgresSource(setting)


def _preflight(
    source: SourceConfig, address: str, contracts: Sequence[Contract], _anchors: Mapping[str, Anchor], /, *, name: str
) -> tuple[Sequence[Finding], Mapping[str, Provided]]:
    from producers.postgresql.onboarding.preflight import examine

    return examine(source, address, contracts, name=name)


def _whole_row_fix(table: str) -> str:
    from producers.postgresql.link.catalog import spelled

    return f"let the department run: ALTER TABLE {spelled(table)} REPLICA IDENTITY FULL;"


def _rows(source: SourceConfig, address: str, contract: Contract) -> Iterable[Mapping[str, Any]]:
    from producers.postgresql.read_back import rows

    return rows(address, contract, source.options.get("text_encoding"))


def _fenced(setting: FenceSetting) -> FencedTable:
    from producers.postgresql.fenced.fence import take

    return take(setting)


class _Drafting:
    """See `producers.draft.Drafting`."""

    what = "PostgreSQL"
    address = "postgresql://user:password@host:5432/database"

    def takes(self, address: str, /) -> bool:
        """See Drafting. Also what libpq takes: `host=… dbname=…`."""
        is_words = "=" in address and "://" not in address and not address.startswith(("/", "."))
        return is_words or address.startswith(("postgresql://", "postgres://"))

    def draft(
        self, address: str, names: Sequence[str], agency: str, options: Mapping[str, Any], /, *, is_lossless: bool
    ) -> Drafted:
        """See Drafting."""
        from producers.postgresql.onboarding.draft import draft

        return draft(address, names, agency, options.get("text_encoding"), is_lossless=is_lossless)


class _Following:
    """See `producers.kind.Following`."""

    def successor(self, source: SourceConfig, address: str, contract: Contract, table: str | None, /) -> Successor:
        """See Following."""
        from producers.postgresql.onboarding.successor import look

        return look(source, address, contract, table)

    def is_copied(self, record: Mapping[str, Any] | None, feed: str, request: str, /) -> bool:
        """See Following."""
        from producers.postgresql.place import is_copied

        return is_copied(record, feed, request)


class _Database:
    """See `producers.kind.Database`."""

    def at(self, address: str, /) -> str:
        """See Database."""
        from producers.postgresql.onboarding.neighbour import at

        return at(address)

    def look(self, address: str, /, *, name: str) -> tuple[str, set[str]]:
        """See Database."""
        from producers.postgresql.onboarding.neighbour import look

        return look(address, name=name)


class _Holding:
    """See `producers.kind.SourceHolding`."""

    def words(self, source: str, /) -> str:
        """See Holding."""
        from producers.postgresql.release import words

        return words(source)

    def by_hand(self, source: str, /) -> str:
        """See Holding."""
        from producers.postgresql.release import by_hand

        return by_hand(source)

    def release(self, setting: SourceSetting, record: Mapping[str, Any], /) -> None:
        """See Holding."""
        from producers.postgresql.release import release

        release(setting, record)


POSTGRES = SourceKind(
    open=_open,
    options=PostgresSourceOptions,
    preflight=_preflight,
    drafting=_Drafting(),
    following=_Following(),
    rows=_rows,
    fencing=_fenced,
    database=_Database(),
    holding=_Holding(),
    whole_row_fix=_whole_row_fix,
    schemes=frozenset({"postgresql", "postgres"}),
)
