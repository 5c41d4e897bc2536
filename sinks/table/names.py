"""Names of the delivered tables: one grant's rows to a table, whichever edition of its topic they come through."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.errors import Misconfigured
from schemas.feed import first_edition


class TableNames:
    """The names of one sink's tables; `given` are those that its options give, by feed."""

    def __init__(self, subscriber: str, given: Mapping[str, str]) -> None:
        self._prefix = f"out.{subscriber}."
        self._given = given
        self._owners: dict[str, str] = {}

    def of(self, topic: str) -> str:
        """The table of a topic's rows."""
        feed = first_edition(topic).removeprefix(self._prefix)
        return self._given.get(feed, feed.replace(".", "_"))

    def claim(self, topic: str) -> str:
        """The same, for this grant alone. Raises Misconfigured when it is another one's."""
        name, first = self.of(topic), first_edition(topic)
        if self._owners.setdefault(name, first) != first:
            raise Misconfigured(
                f"table {name}",
                f"would take the rows of {self._owners[name]} and of {topic}",
                fix="give one of them another name with the sink's option `tables: {<feed>: <name>}`",
            )
        return name
