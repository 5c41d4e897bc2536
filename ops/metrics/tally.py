"""Tally: counters summed over the restarts of the processes that count.

A process that is killed takes its counters with it and its successor starts from zero. Read often enough, what each of them
counted adds up; what a process counted after the last reading before its death is not known here. So a tally is for showing
volume, never for proving completeness: that is `ops/proof/verify.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from ops.metrics.scrape import Buckets, Samples

Series = tuple[str, tuple[tuple[str, str], ...]]


class Tally:
    """Takes readings in order of time; gives sums since the first one, or since `start_anew`."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._last: dict[Series, float] = {}
        self._sums: dict[Series, float] = {}

    def take(self, samples: Samples) -> None:
        """Add what grew since the last reading; a value that fell was reset, and counts whole."""
        for name in self._names:
            for labels, value in samples.series(name):
                series = (name, tuple(sorted(labels.items())))
                last = self._last.get(series, 0.0)
                self._sums[series] = self._sums.get(series, 0.0) + (value - last if value >= last else value)
                self._last[series] = value

    def start_anew(self, *names: str) -> None:
        """Forget the sums of these metrics, not the readings they are relative to."""
        for series in [series for series in self._sums if series[0] in names]:
            del self._sums[series]

    def total(self, name: str, **where: str) -> float:
        """The sum over the series of a metric that have these labels."""
        return sum(value for labels, value in self._series(name) if where.items() <= labels.items())

    def by(self, name: str, label: str) -> dict[str, float]:
        """Sums by the values of one label."""
        sums: dict[str, float] = {}
        for labels, value in self._series(name):
            sums[labels.get(label, "")] = sums.get(labels.get(label, ""), 0.0) + value
        return sums

    def buckets(self, name: str, **where: str) -> Buckets:
        """A histogram's buckets, for `ops.metrics.scrape.quantile`; count its `<name>_bucket` series."""
        counts: dict[float, float] = {}
        for labels, value in self._series(f"{name}_bucket"):
            if where.items() <= labels.items():
                bound = float(labels["le"])
                counts[bound] = counts.get(bound, 0.0) + value
        return sorted(counts.items())

    def _series(self, name: str) -> Iterable[tuple[dict[str, str], float]]:
        return ((dict(labels), value) for (found, labels), value in self._sums.items() if found == name)
