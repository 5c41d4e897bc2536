"""Names of sources and sinks, which must be one each.

They are called `<agency>.<source>` and `<subscriber>.<sink>`. Slot, publication and environment name are made of these with `_` in
place of the dot, so `a_b.c` and `a.b_c` would be one.
"""

from __future__ import annotations

from ops.settings import Side, variable_of
from schemas.agreement.directory import Directory


class Names:
    """The ends of the mesh by the names that are made of theirs."""

    def __init__(self, directory: Directory) -> None:
        self._owners: dict[str, tuple[str, str]] = {}
        for agency in directory.agencies.values():
            for source in agency.sources:
                self.other("source", agency.agency, source.name)
        for subscriber in directory.subscribers.values():
            for sink in subscriber.sinks:
                self.other("sink", subscriber.subscriber, sink.name)

    def other(self, side: Side, owner: str, name: str) -> str | None:
        """Who has the name that this end would have; None when nobody else does, and it is this end's from now on."""
        known = self._owners.setdefault(variable_of(owner, name, side), (owner, name))
        return None if known == (owner, name) else ".".join(known)
