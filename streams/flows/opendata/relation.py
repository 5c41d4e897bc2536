"""Relations between data sets (关联分析, HANDBOOK K5): columns of one data element, and how many values of one occur in the other."""

from __future__ import annotations

from streams.flows.opendata.catalogue import DATASETS
from streams.operators.flow import Outcome, Subject

RELATION = "open.relation"
K = 10


def fold_value(subject: Subject) -> Outcome:
    """One value of a data element: in which columns it occurs, alone and in pairs."""
    outcome = Outcome()
    element = subject.id.partition("|")[0]
    places = sorted(place for place, count in subject.counts.items() if count > 0)
    for place in places:
        outcome.counts[f"relation:{element}", place] = 1
        for other in places:
            if other != place:
                outcome.counts[f"relation:{element}", f"{place}|{other}"] = 1
    return outcome


def fold_relation(subject: Subject) -> Outcome:
    """Edges with their evidence: of `total` values of one column, `matched` occur in the other; blank below k."""
    outcome = Outcome()
    for measure, matched in sorted(subject.counts.items()):
        source, bar, target = measure.partition("|")
        total = subject.counts.get(source, 0)
        if not bar or matched < K or 0 < total - matched < K:
            continue  # a handful of values, or all but a handful, could be told by name
        (from_set, from_column), (to_set, to_column) = source.split("."), target.split(".")
        percent = matched * 100 // total
        outcome.publish(
            RELATION,
            {
                "from_dataset": from_set,
                "from_column": from_column,
                "to_dataset": to_set,
                "to_column": to_column,
                "element": subject.id,
                "matched": matched,
                "total": total,
                "evidence": f"{percent} % of {source} occur in {target} ({matched} of {total})",
                "related_title": DATASETS[to_set].title,
            },
        )
    return outcome
