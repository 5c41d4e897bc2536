"""Which subjects of the registry the running mesh goes by: nobody takes these away while it does."""

from __future__ import annotations

from collections.abc import Callable

from schemas.agreement.directory import Directory
from schemas.feed import edition_of, first_edition, out_topic


def held_by(directory: Callable[[], Directory], subject: str | None) -> str:
    """What needs the subject, in words; of None, whether anything runs at all. Empty for nothing."""
    known = directory()
    if subject is None:
        return f"{len(known.feeds)} feeds" if known.feeds else ""
    topic = subject.removesuffix("-key") if subject.endswith("-key") else subject.removesuffix("-value")
    if topic == subject:
        return ""
    # One that is about to begin is nobody's yet.
    name, edition = first_edition(topic), edition_of(topic)
    if name in known.feeds and edition <= known.feeds[name].edition:
        return f"feed {name}"
    grant = name.removeprefix("out.")
    is_held = grant in known.grants and name == out_topic(grant) and edition <= known.grants[grant].edition
    return f"grant {grant}" if is_held else ""
