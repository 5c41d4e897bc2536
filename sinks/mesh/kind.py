"""Another mesh as a kind of sink: nothing is delivered to it. It reads its topics, as long as its anchor is here (HANDBOOK A10)."""

from __future__ import annotations

from schemas.agreement.anchor import AnchorOptions
from sinks.kind import SinkKind

PEER = SinkKind(options=AnchorOptions)
