"""Reading `/metrics` pages back: sums over processes, rates between two moments, quantiles from histograms."""

from __future__ import annotations

import http.client
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ops.measure import parse
from ops.prometheus.configuration import targets
from schemas.errors import Transient

Sample = tuple[str, Mapping[str, str], float]
Buckets = Sequence[tuple[float, float]]
"""Upper bound in ascending order, the last infinite, and how many values were at or below it."""


class Samples:
    """What processes exported at one moment (`at_seconds`, monotonic clock).

    `gather` gives every series the label `process`, so that one process's restart cannot be taken for another's.
    """

    def __init__(self, samples: Iterable[Sample], at_seconds: float = 0.0) -> None:
        self.at_seconds = at_seconds
        self._series: dict[str, list[tuple[dict[str, str], float]]] = {}
        for name, labels, value in samples:
            self._series.setdefault(name, []).append((dict(labels), value))

    def series(self, name: str, **where: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of a metric that has these labels."""
        return [(labels, value) for labels, value in self._series.get(name, ()) if where.items() <= labels.items()]

    def total(self, name: str, **where: str) -> float:
        """The sum over the series; 0 when there is none."""
        return sum(value for _, value in self.series(name, **where))

    def latest(self, name: str, **where: str) -> float | None:
        """The largest of the series, for gauges; None when there is none."""
        return max((value for _, value in self.series(name, **where)), default=None)

    def buckets(self, name: str, **where: str) -> Buckets:
        """A histogram's buckets, summed over the series."""
        counts: dict[float, float] = {}
        for labels, value in self.series(f"{name}_bucket", **where):
            bound = float(labels["le"])
            counts[bound] = counts.get(bound, 0.0) + value
        return sorted(counts.items())


def scrape(port: int, *, within_seconds: float = 2.0) -> list[Sample]:
    """The samples of one process's page. Raises Transient when it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=within_seconds)
    try:
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise Transient(f"127.0.0.1:{port}/metrics does not answer ({error})", fix="is the process alive?") from error
    finally:
        connection.close()
    return list(parse(page))


def gather(directory: Path, clock: Callable[[], float] = time.monotonic) -> tuple[Samples, frozenset[str]]:
    """The samples of every process of a mesh, and the names of those that answered."""
    samples: list[Sample] = []
    answered: set[str] = set()
    at_seconds = clock()
    for target in targets(directory):
        try:
            samples.extend(
                (name, {**labels, "process": target.process}, value) for name, labels, value in scrape(target.port)
            )
        except Transient:
            continue  # a crashed process: `mesh status` names it, and its successor will answer
        answered.add(target.process)
    return Samples(samples, at_seconds), frozenset(answered)


def rate(before: Samples | None, after: Samples, name: str, **where: str) -> float:
    """Per second between two moments; what a restarted process counts from zero again is never negative."""
    if before is None or after.at_seconds <= before.at_seconds:
        return 0.0
    earlier = {tuple(sorted(labels.items())): value for labels, value in before.series(name, **where)}
    grown = 0.0
    for labels, value in after.series(name, **where):
        since = earlier.get(tuple(sorted(labels.items())), 0.0)
        grown += value - since if value >= since else value
    return grown / (after.at_seconds - before.at_seconds)


def increase(before: Buckets, after: Buckets) -> Buckets:
    """The values that came between two readings of a histogram; all of `after` when a restart reset it."""
    earlier = dict(before)
    grown = [(bound, count - earlier.get(bound, 0.0)) for bound, count in after]
    return after if any(count < 0 for _, count in grown) else grown


def quantile(buckets: Buckets, q: float) -> float | None:
    """The q-quantile (0 to 1), interpolated within its bucket as Prometheus does; None when nothing was observed.

    Beyond the last finite bound the answer is that bound: at least so much.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = q * buckets[-1][1]
    lower_bound, lower_count = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if math.isinf(bound):
                return lower_bound
            within = count - lower_count
            return lower_bound + (bound - lower_bound) * ((rank - lower_count) / within if within else 1.0)
        lower_bound, lower_count = bound, count
    return lower_bound
