"""What a source of the kind `postgres` holds in its database, and how it is given back: a slot and a publication of one name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from psycopg import sql

from producers.postgresql.link.link import connect, translated
from producers.postgresql.slot import Slot, slot_name
from producers.source import SourceSetting, StandingBy
from schemas.errors import Misconfigured

_logger = logging.getLogger(__name__)


def words(source: str) -> str:
    """See `producers.kind.SourceHolding`."""
    return f"slot and publication {slot_name(source)}"


def by_hand(source: str) -> str:
    """See Holding."""
    name = slot_name(source)
    return f"SELECT pg_drop_replication_slot('{name}'); DROP PUBLICATION IF EXISTS {name};"


def release(setting: SourceSetting, record: Mapping[str, Any]) -> None:
    """See Holding. A slot that is no longer this database's is somebody else's."""
    name = setting.name
    if record.get("phase", "new") == "new":
        return  # nothing was ever made
    with closing(connect(setting.address, name=name)) as statements:
        slot = Slot(statements, name)
        if not slot.acquire():
            raise StandingBy(f"source {name} is captured by another process", retry_after_seconds=5.0)
        row = slot.row()
        if row is not None and row["database"] == statements.info.dbname:
            slot.drop()
            _logger.info("%s: slot %s is dropped", name, slot.name)
        try:
            with translated(name):
                statements.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(slot.name)))
        except Misconfigured as error:  # somebody made it in our place; without a slot it costs nothing
            _logger.warning("%s: publication %s stays: %s", name, slot.name, error.problem)
