"""Held: why a grant's delivery waits on purpose, in words: who paused it, since when and why, or until when it is quiet."""

from __future__ import annotations

from datetime import datetime

from ops.command.terminal import SHANGHAI
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Grant
from schemas.errors import Misconfigured


def why_held(directory: Directory, grant: Grant, now: datetime) -> str:
    """Empty where nothing holds it. Times are those of Shanghai."""
    pause = directory.pause_of(grant)
    if pause is not None:
        reason = f": {pause.reason}" if pause.reason else ""
        return f"paused by {pause.by} since {pause.since.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}{reason}"
    subscriber = directory.subscribers.get(grant.subscriber)
    sink = subscriber.sink(grant.sink) if subscriber else None
    try:
        quiet = sink.policy(grant.subscriber).quiet if sink else None
    except Misconfigured:
        return ""  # its lane says so
    if quiet is None or not quiet.covers(now):
        return ""
    return f"quiet hours {quiet}: goes on at {quiet.until(now):%Y-%m-%d %H:%M}"
