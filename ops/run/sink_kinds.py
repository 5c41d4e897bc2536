"""The kinds of sink. A new one is one file in `sinks/`, one line here and its tests."""

from __future__ import annotations

from collections.abc import Mapping

from sinks.files import FILES
from sinks.postgres import POSTGRES
from sinks.sink import SinkKind
from sinks.webhook import WEBHOOK

SINKS: Mapping[str, SinkKind] = {"postgres": POSTGRES, "webhook": WEBHOOK, "files": FILES}
