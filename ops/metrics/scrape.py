"""Reading `/metrics` pages back: sums over processes, rates between two moments, quantiles from histograms.

All processes are asked at once, each a bounded time: one that hangs holds up nobody's view of the others.
"""

from __future__ import annotations

import http.client
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ops.metrics.recent import AGE
from ops.prometheus.configuration import Target, targets
from ops.settings import SCRAPE_TOKEN, known_token
from schemas.errors import Transient

Sample = tuple[str, Mapping[str, str], float]
Buckets = Sequence[tuple[float, float]]
"""Upper bound in ascending order, the last infinite, and how many values were at or below it."""

WITHIN_SECONDS = 2.0
_LINE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


class Samples:
    """What processes exported at one moment (`at_seconds`, monotonic clock).

    `gather` gives every series the label `process`, so that one process's restart cannot be taken for another's.
    `ages`: where the processes tell of an earlier moment, how much earlier each; others then told nothing.
    """

    def __init__(
        self, samples: Iterable[Sample], at_seconds: float = 0.0, ages: Mapping[str, float] | None = None
    ) -> None:
        self.at_seconds = at_seconds
        self.ages = ages
        self._series: dict[str, list[tuple[dict[str, str], float]]] = {}
        for name, labels, value in samples:
            self._series.setdefault(name, []).append((dict(labels), value))

    def series(self, name: str, /, **where: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of a metric that has these labels."""
        return [(labels, value) for labels, value in self._series.get(name, ()) if where.items() <= labels.items()]

    def total(self, name: str, /, **where: str) -> float:
        """The sum over the series; 0 when there is none."""
        return sum(value for _, value in self.series(name, **where))

    def latest(self, name: str, /, **where: str) -> float | None:
        """The largest of the series, for gauges; None when there is none."""
        return max((value for _, value in self.series(name, **where)), default=None)

    def values(self, name: str, label: str) -> list[str]:
        """The values that one label of a metric has, in order."""
        return sorted({labels[label] for labels, _ in self._series.get(name, ()) if label in labels})

    def buckets(self, name: str, /, **where: str) -> Buckets:
        """A histogram's buckets, summed over the series."""
        counts: dict[float, float] = {}
        for labels, value in self.series(f"{name}_bucket", **where):
            bound = float(labels["le"])
            counts[bound] = counts.get(bound, 0.0) + value
        return sorted(counts.items())


def parse(page: str) -> Iterator[Sample]:
    """The samples of a `/metrics` page: name, labels, value."""
    for line in page.splitlines():
        found = _LINE.match(line)
        if found is None:  # a comment, or a line that no process of ours writes
            continue
        name, labels, value = found.groups()
        yield name, {key: _plain(text) for key, text in _LABEL.findall(labels or "")}, float(value)


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text) if "\\" in text else text


def scrape(port: int, *, within_seconds: float = WITHIN_SECONDS, token: str = "") -> list[Sample]:
    """The samples of one process's page. Raises Transient when it does not answer."""
    return list(parse(_ask(port, "/metrics", within_seconds, token)[0]))


def _ask(port: int, path: str, within_seconds: float, token: str) -> tuple[str, float]:
    """A page, and how many seconds old it says it is."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=within_seconds)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            fix = "copy connections/mesh.scrape-token from where the mesh was started"
            raise Transient(f"127.0.0.1:{port}{path} answers {answer.status}", fix=fix)
        return answer.read().decode(), float(answer.headers.get(AGE, 0.0))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Transient(f"127.0.0.1:{port}{path} does not answer ({error})", fix="is the process alive?") from error
    finally:
        connection.close()


def gather(directory: Path, clock: Callable[[], float] = time.monotonic) -> tuple[Samples, frozenset[str]]:
    """The samples of every process of a mesh, and the names of those that answered."""
    at_seconds = clock()
    answers = _ask_all(directory, "/metrics")
    return Samples(_named(answers), at_seconds), frozenset(answers)


def gather_recent(directory: Path, clock: Callable[[], float] = time.monotonic) -> Samples:
    """The counters of every process as they stood a little while ago (ops/metrics/recent.py)."""
    at_seconds = clock()
    answers = _ask_all(directory, "/recent")
    return Samples(_named(answers), at_seconds, {process: age for process, (_, age) in answers.items()})


def _ask_all(directory: Path, path: str) -> Mapping[str, tuple[str, float]]:
    """The page of every process that answers, and its age."""
    asked, token = targets(directory), known_token(directory, SCRAPE_TOKEN)

    def ask(target: Target) -> tuple[str, float] | None:
        try:
            return _ask(target.port, path, WITHIN_SECONDS, token)
        except Transient:
            return None  # a crashed process: `mesh status` names it, and its successor will answer

    if not asked:
        return {}
    with ThreadPoolExecutor(len(asked), thread_name_prefix="scrape") as pool:
        answers = pool.map(ask, asked)
        return {target.process: answer for target, answer in zip(asked, answers, strict=True) if answer is not None}


def _named(answers: Mapping[str, tuple[str, float]]) -> Iterator[Sample]:
    for process, (page, _) in answers.items():
        for name, labels, value in parse(page):
            yield name, {**labels, "process": process}, value


def rate(before: Samples | None, after: Samples, name: str, /, **where: str) -> float:
    """Per second between two moments; what a restarted process counts from zero again is never negative."""
    if before is None or (before.ages is None and after.at_seconds <= before.at_seconds):
        return 0.0
    earlier = {tuple(sorted(labels.items())): value for labels, value in before.series(name, **where)}
    per_second = 0.0
    for labels, value in after.series(name, **where):
        since_seconds = after.at_seconds - before.at_seconds
        if before.ages is not None:
            age = before.ages.get(labels.get("process", ""))
            if age is None:  # it tells nothing of then, so what it counted may be of any time
                continue
            since_seconds += age
        since = earlier.get(tuple(sorted(labels.items())), 0.0)
        if since_seconds > 0:
            per_second += (value - since if value >= since else value) / since_seconds
    return per_second


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
