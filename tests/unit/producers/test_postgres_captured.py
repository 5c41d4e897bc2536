"""What a captured table has become: each difference ends in one of three ways, and what the log has in none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from producers.postgresql.captured import Captured, CapturedLeaf, DifferenceOutcome, Now, Publication, difference

WHOLE = Publication(
    stamp="9:1", options=dict.fromkeys(("pubinsert", "pubupdate", "pubdelete", "pubtruncate", "pubviaroot"), True)
)
WAS = Captured(
    name="public.t",
    oid=1,
    kind="r",
    persistence="p",
    filenode=10,
    shape="a",
    identity="f",
    index=0,
    member=5,
    is_narrowed=False,
    publication="9:1",
)
ROOT = replace(WAS, kind="p", leaves=(CapturedLeaf(2, 20, 700), CapturedLeaf(3, 30, 700)))


def outcome(
    was: Captured, now: Now, *, truncating: frozenset[int] = frozenset(), filled: bool = True
) -> DifferenceOutcome | None:
    found = difference("police.t", "police.main", was, now, truncating, lambda _: filled)
    return found.outcome if found else None


def now(here: Captured | None, former: Captured | None = None, publication: Publication | None = WHOLE) -> Now:
    return Now(here=here, former=former, publication=publication)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (now(WAS), None),
        (now(replace(WAS, filenode=11)), None),  # truncated, or packed
        (now(replace(WAS, shape="b")), None),  # judged by the contract
        (now(replace(WAS, filenode=11, shape="b")), DifferenceOutcome.COPY),
        (now(None), DifferenceOutcome.STOP),
        (now(None, replace(WAS, name="public.u")), DifferenceOutcome.STOP),
        (now(replace(WAS, oid=2)), DifferenceOutcome.ASK),
        (now(replace(WAS, persistence="u")), DifferenceOutcome.STOP),
        (now(WAS, publication=None), DifferenceOutcome.ASK),
        (now(WAS, publication=replace(WHOLE, options={**WHOLE.options, "pubupdate": False})), DifferenceOutcome.ASK),
        (now(replace(WAS, member=0)), DifferenceOutcome.ASK),
        (now(replace(WAS, is_narrowed=True)), DifferenceOutcome.ASK),
        (now(replace(WAS, member=6)), DifferenceOutcome.COPY),
        (now(replace(WAS, publication="9:2")), DifferenceOutcome.COPY),
    ],
)
def test_every_difference_of_a_table_has_one_outcome(present: Now, expected: DifferenceOutcome | None) -> None:
    assert outcome(WAS, present) is expected


def test_partitions_that_took_rows_along_are_told_from_those_that_the_log_has() -> None:
    attached = replace(ROOT, leaves=(*ROOT.leaves, CapturedLeaf(4, 40, 701)))
    assert outcome(ROOT, now(attached)) is DifferenceOutcome.COPY
    assert outcome(ROOT, now(attached), filled=False) is None
    assert outcome(ROOT, now(replace(ROOT, leaves=ROOT.leaves[:1]))) is DifferenceOutcome.COPY
    emptied = now(replace(ROOT, leaves=(ROOT.leaves[0], CapturedLeaf(3, 31, 702))))
    assert outcome(ROOT, emptied) is DifferenceOutcome.COPY
    assert outcome(ROOT, emptied, truncating=frozenset({702})) is None  # with its root, which is in the log


def test_a_renamed_table_is_named_back_by_the_statement_that_the_fix_gives() -> None:
    present = now(None, replace(WAS, name='archive.T "x"'))
    found = difference("police.t", "police.main", WAS, present, (), lambda _: True)
    assert found is not None
    statements = found.fix.split("by itself: ")[1]
    assert statements == 'ALTER TABLE archive."T ""x""" SET SCHEMA public; ALTER TABLE public."T ""x""" RENAME TO t;'


def test_a_captured_table_is_read_back_as_it_was_written() -> None:
    assert Captured.from_json({**ROOT.to_json(), "leaves": [list(leaf) for leaf in ROOT.leaves]}) == ROOT
