"""Ping: a signed test request to a webhook, which no receiver can take for a change: it has a type, and no feed.

    webhook-id: test_<32 hexadecimal digits>
    {"type": "mesh.test", "subscriber": …, "sink": …, "at": "2026-01-31T15:59:59.123Z"}

A receiver answers 2xx and does nothing.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

from sinks.http.webhook import Message, build_webhook
from sinks.kind import Checked
from sinks.sink import SinkSetup

TEST_TYPE = "mesh.test"
_TEXT = "let it answer 2xx to a body whose `type` is mesh.test, and do nothing; its id begins with test_"


def ping(setup: SinkSetup) -> Iterator[Checked]:
    """Call the receiver once. Raises Misconfigured for settings that cannot be read."""
    with closing(build_webhook(setup)) as sink:
        yield Checked(what="its address and its signing key can be read")
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = {"type": TEST_TYPE, "subscriber": setup.subscriber, "sink": setup.sink.name, "at": now}
        message = Message(message_id=f"test_{secrets.token_hex(16)}", body=json.dumps(body).encode())
        began = time.monotonic()
        error = sink.post(message)
        took = f"{(time.monotonic() - began) * 1000:.0f} ms"
        if error is None:
            yield Checked(what="a signed test event is taken", detail=f"{message.message_id}, {took}")
        else:
            fix = error.fix or (
                f"{_TEXT}; or mend what it answered" if "answered" in error.problem else "see that it runs"
            )
            yield Checked(what="a signed test event is taken", is_ok=False, detail=error.problem, fix=fix)
