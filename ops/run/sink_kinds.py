"""The kinds of sink. A new one is one file in `sinks/`, one line here and its tests."""

from __future__ import annotations

from collections.abc import Mapping

from sinks.drops.sink import FILES
from sinks.http.webhook import WEBHOOK
from sinks.postgresql.sink import POSTGRES
from sinks.sink import SinkKind

SINKS: Mapping[str, SinkKind] = {"postgres": POSTGRES, "webhook": WEBHOOK, "files": FILES}
