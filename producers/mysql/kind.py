"""MariaDB as a kind of source: departments' tables by its binary log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from producers.draft import Drafted
from producers.fenced.table import FencedTable, FenceSetting
from producers.finding import Finding, Provided
from producers.kind import SourceKind, Successor
from producers.mysql.options import MysqlSourceOptions
from producers.source import Source, SourceSetting
from schemas.agreement.agency import SourceConfig
from schemas.agreement.anchor import Anchor
from schemas.contract import Contract


def _open(setting: SourceSetting) -> Source:
    from producers.mysql.source import MysqlSource

    return MysqlSource(setting)


def _preflight(
    source: SourceConfig, address: str, contracts: Sequence[Contract], _anchors: Mapping[str, Anchor], /, *, name: str
) -> tuple[Sequence[Finding], Mapping[str, Provided]]:
    from producers.mysql.onboarding.preflight import examine

    return examine(source, address, contracts, name=name)


def _rows(_source: SourceConfig, address: str, contract: Contract, /) -> Iterable[Mapping[str, Any]]:
    from producers.mysql.read_back import rows

    return rows(address, contract)


def _fenced(setting: FenceSetting, /) -> FencedTable:
    from producers.mysql.fenced.fence import take

    return take(setting)


class _MysqlDrafting:
    """See `producers.draft.Drafting`."""

    what = "MariaDB"
    address = "mysql://user:password@host:3306/database"

    def takes(self, address: str, /) -> bool:
        """See Drafting."""
        return address.startswith(("mysql://", "mariadb://"))

    def draft(
        self, address: str, names: Sequence[str], agency: str, _options: Mapping[str, Any], /, *, is_lossless: bool
    ) -> Drafted:
        """See Drafting."""
        from producers.mysql.onboarding.draft import draft

        return draft(address, names, agency, is_lossless=is_lossless)


class _MysqlFollowing:
    """See `producers.kind.Following`."""

    def successor(self, _source: SourceConfig, address: str, contract: Contract, table: str | None, /) -> Successor:
        """See Following."""
        from producers.mysql.onboarding.successor import look

        return look(address, contract, table)

    def is_copied(self, record: Mapping[str, Any] | None, feed: str, request: str, /) -> bool:
        """See Following."""
        from producers.mysql.place import is_feed_copied

        return is_feed_copied(record, feed, request)


class _MysqlDatabase:
    """See `producers.kind.Database`."""

    def at(self, address: str, /) -> str:
        """See Database."""
        from producers.mysql.onboarding.neighbour import at

        return at(address)

    def look(self, address: str, /, *, name: str) -> tuple[str, set[str]]:
        """See Database."""
        from producers.mysql.onboarding.neighbour import look

        return look(address, name=name)


MYSQL_SOURCE = SourceKind(
    open=_open,
    options=MysqlSourceOptions,
    preflight=_preflight,
    drafting=_MysqlDrafting(),
    following=_MysqlFollowing(),
    rows=_rows,
    fencing=_fenced,
    database=_MysqlDatabase(),
    schemes=frozenset({"mysql", "mariadb"}),
    whole_row_fix=lambda _table: "let the server's people run: SET GLOBAL binlog_row_image = 'FULL';",
)
