"""Hop 3: granted feeds reach their subscribers. Reads `out` topics, writes databases, webhooks and files, and serves live feeds.

Imports the ground only. Upholds invariants 1 (the broker's offset moves behind the subscriber's data), 3 (delivered or dead letter),
4 (order per key, also among parallel requests and halves of a run), 6 (topics of active grants only), 7 and 8 (a lane per
subscriber and sink), 9 (a gap parks the lane and says so).

The path: Reader.batches (schemas/log/reader.py) → LaneSession (lane/session.py) → Sink.write (sink.py), in a room per kind of
sink. A new kind is a room with its SinkKind (kind.py), one line in `ops.kinds.sinks.SINKS`, and its tests.
"""
