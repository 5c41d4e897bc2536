"""What is agreed, as metrics: contracts, grants and until when they run, and what the feeds promise. Told by delivery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime

from ops.metrics.exporter import EXPORTER, Exporter
from ops.metrics.metric import origin_of
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry


class DirectoryMetrics:
    """Puts the present Directory on the page."""

    def __init__(self, exporter: Exporter = EXPORTER) -> None:
        self._versions = exporter.gauge("mesh_contract_version")
        self._grants = exporter.gauge("mesh_grants")
        self._ends = exporter.gauge("mesh_grant_ends_timestamp_seconds")
        self._promised = exporter.gauge("mesh_promised_seconds")

    def look(self, directory: Directory, now: datetime) -> None:
        """As it is at this moment; what is no more leaves the page."""
        self._versions.keep(
            {
                (
                    name,
                    entry.contract.agency,
                    origin_of(directory, name),
                    str(entry.contract.gov.get("class", "")),
                ): entry.version
                for name, entry in directory.feeds.items()
            }
        )
        states = Counter((each.grant.subscriber, each.state(now).value) for each in directory.grants.values())
        self._grants.keep({labels: float(count) for labels, count in states.items()})
        active = [entry for entry in directory.grants.values() if entry.grant.is_active(now)]
        self._ends.keep({_labels(each): end.timestamp() for each in active if (end := each.grant.valid_to) is not None})
        self._promised.keep(
            {
                _labels(each): promised
                for each in active
                if (feed := directory.feeds.get(each.grant.feed)) is not None
                and (promised := promised_seconds(feed)) is not None
            }
        )


def promised_seconds(entry: FeedEntry) -> float | None:
    """Within how long a change is promised to subscribers; None where the contract promises nothing."""
    promised = entry.contract.gov.get("freshnessSloSeconds")
    return float(promised) if isinstance(promised, int | float) and not isinstance(promised, bool) else None


def _labels(entry: GrantEntry) -> tuple[str, str, str]:
    return entry.grant.subscriber, entry.grant.feed, entry.grant.grant_id


def news_of(directory: Callable[[], Directory], take: Callable[[Directory], object]) -> Callable[[], None]:
    """What to call again and again so that `take` hears of each new Directory once."""
    seen: list[Directory] = []

    def look() -> None:
        present = directory()
        if not seen or seen[0] is not present:
            seen[:] = [present]
            take(present)

    return look
