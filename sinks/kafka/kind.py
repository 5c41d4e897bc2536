"""The subscriber's own Kafka client as a kind of sink: nothing is delivered to it. It reads its `out` topics by a login of its own.

What its consumer group `sub.<subscriber>.<sink>` commits is what it confirmed (ops/own_topic/ makes the login and tells ends).
"""

from __future__ import annotations

from sinks.kind import SinkKind

KAFKA = SinkKind(confirms_by_group=True)
