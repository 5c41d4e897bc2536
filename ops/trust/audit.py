"""Audit (审计): who did what and when, on `mesh.audit`, of which nothing is ever compacted away; ops/audit/ chains the lines."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from ops.audit.chain import RESERVED
from ops.trust.login import login_name
from schemas.feed import AUDIT
from schemas.log.control.records import Append, publish


def audit(append: Append, what: str, subject: str, **details: Any) -> Mapping[str, Any]:
    """Queue one line; it is durable once what `append` belongs to is flushed (ops/audit/audited_log.py).

    `details` are ids, counts and reasons, never a value of a row.
    """
    if taken := RESERVED & details.keys():
        raise TypeError(f"{', '.join(sorted(taken))}: what the chain itself says of a line")
    when = datetime.now(UTC).isoformat()
    line = {
        "who": login_name(),
        "host": socket.gethostname(),
        "what": what,
        "when": when,
        "subject": subject,
        **details,
    }
    publish(append, AUDIT, f"{when} {uuid4()}", line)
    return line
