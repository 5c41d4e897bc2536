"""The kinds of source. A new one is a room in `producers/`, one line here and its tests."""

from __future__ import annotations

from collections.abc import Mapping

from producers.mesh.source import PeerSource
from producers.postgresql.release import POSTGRES_HOLDING
from producers.postgresql.source import PostgresSource
from producers.release import Holding
from producers.source import OpenSource

SOURCES: Mapping[str, OpenSource] = {"postgres": PostgresSource, "mesh": PeerSource}
HOLDINGS: Mapping[str, Holding] = {"postgres": POSTGRES_HOLDING}
"""What kinds of source give back once they have no feed any more; the others hold nothing."""
