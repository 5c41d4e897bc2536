"""Which subjects of the registry the running mesh goes by: nobody takes these away while it does."""

from __future__ import annotations

from collections.abc import Callable

from schemas.directory import Directory
from schemas.feed import out_topic


def held_by(directory: Callable[[], Directory], subject: str | None) -> str:
    """What needs the subject, in words; of None, whether anything runs at all. Empty for nothing."""
    known = directory()
    if subject is None:
        return f"{len(known.feeds)} feeds" if known.feeds else ""
    topic = subject.removesuffix("-key") if subject.endswith("-key") else subject.removesuffix("-value")
    if topic == subject:
        return ""
    if topic in known.feeds:
        return f"feed {topic}"
    grant = topic.removeprefix("out.")
    return f"grant {grant}" if grant in known.grants and topic == out_topic(grant) else ""
