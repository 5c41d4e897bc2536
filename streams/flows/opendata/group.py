"""A group of rows with equal quasi-identifiers: what of it is published, and when a difference is large enough (HANDBOOK K2).

A published row has no identity but its content: its number is a digest of what it shows, counted up where several rows show
the same. So a number tells nothing of the source's key, and a changed row is one that goes and one that comes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from streams.flows.opendata.catalogue import DATASETS, Dataset, sets_of
from streams.operators.flow import Outcome, Subject, Tell
from streams.operators.publish import Release, release

ROWS, DELTA = "open.dataset", "open.delta"


def dataset_of(subject: Subject) -> tuple[Dataset, str]:
    """The data set of a subject `<kind>:<dataset>|<rest>`, and the rest."""
    code, _, rest = subject.id.partition("|")
    return DATASETS[code], rest


def fold_group(subject: Subject) -> Outcome:
    """Publish the group anew if the difference, and what is left, have at least k rows; else leave it as it is."""
    outcome = Outcome()
    dataset, values = dataset_of(subject)
    present = Counter(dataset.content(fact.row) for fact in subject.of(dataset.feed) if fact.row is not None)
    published = Counter(row["content"] for row in subject.published.get(ROWS, {}).values())
    is_open = dataset.is_open_at(subject.now)
    found = release(present if is_open else {}, published, dataset.k)
    sets = [f"profile:{code}" for code in sets_of(dataset, json.loads(values))]
    outcome.memory = _memory(subject, found)
    outcome.publish(ROWS, *rows_of(dataset, found.rows))
    if outcome.memory:
        group = hashlib.sha256(values.encode()).hexdigest()[:16]
        outcome.publish(DELTA, {"dataset": dataset.dataset, "quasi_group": group, **outcome.memory})
        tell = {"released_at": outcome.memory["released_at"]}
        outcome.tells += [Tell(to=profile, tag="released", row=tell) for profile in sets]
    _count(outcome, dataset, found, sets)
    outcome.reasons[ROWS] = "RETRACTED"
    if (change := dataset.next_change(subject.now)) is not None:
        outcome.wake(change)
    return outcome


def _memory(subject: Subject, found: Release) -> dict[str, Any]:
    """What is remembered of the last release: history, not a function of the rows."""
    if not found.is_new:
        return subject.memory
    return {
        "release": subject.memory.get("release", 0) + 1,
        "added": found.added,
        "removed": found.removed,
        "rows": sum(found.rows.values()),
        "released_at": subject.now,
    }


def rows_of(dataset: Dataset, contents: Mapping[str, int]) -> list[dict[str, Any]]:
    """The rows of `open.dataset` for contents and how often each occurs."""
    rows: list[dict[str, Any]] = []
    for content in sorted(contents):
        digest = hashlib.sha256(f"{dataset.dataset}\n{content}".encode()).hexdigest()[:24]
        rows += [
            {"dataset": dataset.dataset, "row_no": f"{digest}-{number}", "content": content}
            for number in range(1, contents[content] + 1)
        ]
    return rows


def _count(outcome: Outcome, dataset: Dataset, found: Release, profiles: Sequence[str]) -> None:
    """The group's share of the statistics (of the set and of its parts) and of the relations: of published rows only."""
    figures: Counter[str] = Counter()
    values: Counter[tuple[str, str]] = Counter()
    for content, count in found.rows.items():
        measures, places = _told_by(dataset.dataset, content)
        for measure in measures:
            figures[measure] += count
        for place in places:
            values[place] += count
    if found.is_held:
        figures["held"] = 1
    outcome.counts = dict(values)
    for profile in profiles:
        outcome.counts.update({(profile, measure): count for measure, count in figures.items()})


@lru_cache(maxsize=1 << 14)
def _told_by(dataset: str, content: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """What one row with this content counts for: measures of the profiles, and (subject, measure) of the relations."""
    shown, listed = json.loads(content), DATASETS[dataset]
    measures = ("rows", *(f"v|{column}|{json.dumps(shown[column], ensure_ascii=False)}" for column in listed.profile))
    elements = ((column, element) for column, element in listed.elements.items() if shown[column])
    return measures, tuple((f"value:{element}|{shown[column]}", f"{dataset}.{column}") for column, element in elements)
