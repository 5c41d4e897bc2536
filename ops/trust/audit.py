"""Audit (审计): who did what and when, as plain records on `mesh.audit`, none of which is ever compacted away."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from schemas.feed import AUDIT
from schemas.log.control.records import Append, publish


def audit(append: Append, what: str, subject: str, **details: Any) -> Mapping[str, Any]:
    """Queue one line; it is durable once the log that `append` belongs to is flushed. `details` hold no value of a row."""
    when = datetime.now(UTC).isoformat()
    line = {"who": _who(), "what": what, "when": when, "subject": subject, **details}
    publish(append, AUDIT, f"{when} {uuid4()}", line)
    return line


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"  # a container's user need not have a name
