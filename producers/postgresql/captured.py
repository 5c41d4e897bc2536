"""What a feed was made from, and how that differs from what the database has now. Values and comparison only.

A difference ends in one of three ways (invariants 9 and 10): the feed stops and says why and what to do; the table is copied
anew; or the person who set the source's option `on_table_change` has said which of the two. None means that the log has all of
it: a table that was truncated, or packed by VACUUM FULL or CLUSTER, has another file and the same history.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from producers.postgresql.link.catalog import spelled, split

PUBLISHED = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true"
"""What a publication of ours must pass on."""

_WHOLE = ("pubinsert", "pubupdate", "pubdelete", "pubtruncate", "pubviaroot")


class CapturedLeaf(NamedTuple):
    """A partition that holds rows: its file, and the transaction that last changed its catalog entry."""

    oid: int
    filenode: int
    xid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The publication itself: `stamp` changes with every ALTER of its options."""

    stamp: str
    options: Mapping[str, Any]

    @property
    def is_whole(self) -> bool:
        """Whether it passes on every kind of change, of partitions under their root's name."""
        return all(self.options.get(name) for name in _WHOLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """One table as the catalog has it at one moment.

    `shape` changes with every change of a column, also one that leaves name and type; `member` is the table's entry in the
    publication, 0 if it is not in it; `index` is that of the replica identity, 0 if there is none.
    """

    name: str
    oid: int
    kind: str
    persistence: str
    filenode: int
    shape: str
    identity: str
    index: int
    member: int
    is_narrowed: bool
    publication: str
    leaves: tuple[CapturedLeaf, ...] = ()

    def is_shaped_like(self, other: Captured) -> bool:
        """Whether nothing that a contract asks of a table differs."""
        same = (self.shape, self.identity, self.index, self.persistence) == (
            other.shape,
            other.identity,
            other.index,
            other.persistence,
        )
        return same and {leaf.oid for leaf in self.leaves} == {leaf.oid for leaf in other.leaves}

    def to_json(self) -> dict[str, Any]:
        """For the source's record."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Captured:
        """Read it back."""
        return cls(**{**record, "leaves": tuple(CapturedLeaf(*leaf) for leaf in record["leaves"])})


class DifferenceOutcome(Enum):
    """What a difference asks for. ASK: the source's option `on_table_change` decides between the two."""

    STOP = "stop"
    COPY = "copy"
    ASK = "ask"


class Difference(NamedTuple):
    """What is different, and what to do about it."""

    outcome: DifferenceOutcome
    reason: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What the catalog has at the moment of comparing: the table of that name, the one captured before, the publication."""

    here: Captured | None
    former: Captured | None
    publication: Publication | None


def difference(
    feed: str,
    source: str,
    was: Captured,
    now: Now,
    truncating: Collection[int],
    is_filled: Callable[[int], bool],
) -> Difference | None:
    """How a feed's table differs from what it was made from; None for what the log has.

    `truncating` are the transactions that truncated the table since, `is_filled` says whether a partition has rows.
    """
    return (
        _another(feed, was, now) or _unpublished(feed, source, was, now) or _moved_rows(was, now, truncating, is_filled)
    )


def absent(feed: str, was: Captured, now: Now) -> Difference | None:
    """No table has the name of the feed's: it was renamed or dropped. None where one has."""
    if now.here is not None:
        return None
    if now.former is not None:
        return renamed(feed, was.name, now.former.name)
    fix = (
        f"create it again, then `mesh resync {feed}` copies it; or, if it is gone for good: `mesh offboard feed {feed} --yes`; "
        "its source's other feeds go on meanwhile"
    )
    return Difference(DifferenceOutcome.STOP, f"table {was.name} was dropped", fix)


def _another(feed: str, was: Captured, now: Now) -> Difference | None:
    here, former = now.here, now.former
    if here is None:
        return absent(feed, was, now)
    if here.oid != was.oid:
        return replaced(feed, was.name, former.name if former else None)
    if here.persistence != "p":
        fix = f"ALTER TABLE {spelled(here.name)} SET LOGGED; the feed then goes on by itself"
        return Difference(DifferenceOutcome.STOP, f"table {here.name} is no longer logged", fix)
    return None


def renamed(feed: str, before: str, after: str) -> Difference:
    """The feed's table has another name, and no table has the old one."""
    schema, table = split(before)
    moved = f"{schema}.{split(after)[1]}"
    back = (
        ""
        if split(after)[0] == schema
        else f"ALTER TABLE {spelled(after)} SET SCHEMA {spelled(before).split('.')[0]}; "
    )
    back += "" if moved == before else f"ALTER TABLE {spelled(moved)} RENAME TO {spelled(f'x.{table}')[2:]}; "
    return Difference(
        DifferenceOutcome.STOP,
        f"table {before} was renamed to {after}: what is committed there is in no feed",
        f"follow it: `mesh follow {feed} --table {shlex.quote(after)} --yes`; "
        f"or name it back, and the feed goes on by itself: {back.strip()}",
    )


def replaced(feed: str, name: str, former: str | None) -> Difference:
    """Another table has taken over the name of the feed's."""
    where = f"; the one that was captured is {former} now" if former else ""
    fix = (
        f"`mesh resync {feed}` copies the new table, and takes from subscribers what is not in it; the source's option "
    )
    return Difference(
        DifferenceOutcome.ASK,
        f"{name} is another table than was captured{where}",
        f"{fix}on_table_change: copy does so by itself",
    )


def _unpublished(feed: str, source: str, was: Captured, now: Now) -> Difference | None:
    here, publication = now.here, now.publication
    assert here is not None, "told apart before"
    name = f"mesh_{source.replace('.', '_')}"
    if publication is None:
        fix = f"`mesh resync {source}` makes it anew and copies every table"
        return Difference(DifferenceOutcome.ASK, f"publication {name} was dropped: changes since then are lost", fix)
    if not publication.is_whole:
        fix = f"ALTER PUBLICATION {name} SET ({PUBLISHED}); the feed is then copied anew by itself"
        return Difference(DifferenceOutcome.ASK, f"publication {name} leaves changes out", fix)
    if not here.member and was.member:
        fix = f"`mesh resync {feed}` takes it in again and copies it"
        return Difference(DifferenceOutcome.ASK, f"{here.name} was taken out of publication {name}", fix)
    if here.is_narrowed and not was.is_narrowed:
        fix = f"`mesh resync {feed}` takes it in whole and copies it"
        return Difference(DifferenceOutcome.ASK, f"publication {name} leaves rows or columns of {here.name} out", fix)
    if here.member != was.member or here.publication != was.publication:
        return Difference(
            DifferenceOutcome.COPY, f"publication {name} was changed, and may have left out {here.name} for a while"
        )
    return None


def _moved_rows(
    was: Captured, now: Now, truncating: Collection[int], is_filled: Callable[[int], bool]
) -> Difference | None:
    here = now.here
    assert here is not None, "told apart before"
    if here.filenode != was.filenode and here.shape != was.shape:
        return Difference(DifferenceOutcome.COPY, f"table {here.name} was rewritten: its rows may have other values")
    before, after = ({leaf.oid: leaf for leaf in table.leaves} for table in (was, here))
    if before.keys() - after.keys():
        return Difference(DifferenceOutcome.COPY, f"a partition of {here.name} was detached or dropped")
    if any(is_filled(oid) for oid in after.keys() - before.keys()):
        return Difference(DifferenceOutcome.COPY, f"a partition with rows was attached to {here.name}")
    emptied = (
        leaf
        for oid, leaf in after.items()
        if oid in before and leaf.filenode != before[oid].filenode and leaf.xid not in truncating
    )
    if any(emptied):
        return Difference(DifferenceOutcome.COPY, f"a partition of {here.name} was truncated or rewritten by itself")
    return None
