"""Plan: one walk of a record serves the checks of its contract and every grant that is live.

A plan belongs to one value schema of a feed and one set of grants. `Plans` builds them when first needed and forgets them
when the directory changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.agreement.directory import FeedEntry, GrantEntry
from schemas.agreement.grant import Mask
from schemas.contract import AvroType
from schemas.errors import Misconfigured, Rejected
from schemas.incident import Incidents, MemoryIncidents, begin_for
from schemas.position import trace_salt
from schemas.wire.envelope import frame
from schemas.wire.scan import Extras, Scanner, Shape, Spans
from schemas.wire.schema import SchemaOf
from schemas.wire.spans import Types
from streams.egress.cut import Cut
from streams.egress.egress import Cutting, HashKey, cutting, encode_extras
from streams.egress.enrich import Check, Enrichment
from streams.egress.owed import Owed, boundaries_of, cut_owed
from streams.egress.piece import hasher

_logger = logging.getLogger(__name__)

Headers = Sequence[tuple[str, bytes]]
Rekey = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A grant as it is to be served.

    `held` are the row filters by which its subscriber may hold rows that the present one excludes; None: any row.
    `is_snapshot`: changes of the past, served as a snapshot's rows. `owed`: of those, what the subscriber does not have yet.
    """

    entry: GrantEntry
    held: tuple[str | None, ...] = ()
    is_snapshot: bool = False
    owed: Owed | None = None

    @property
    def held_filter(self) -> str | None:
        """The filters as one: "false" for none, None for any row."""
        others = [text for text in self.held if text != self.entry.grant.row_filter]
        if None in others:
            return None
        return " || ".join(f"({text})" for text in others) or "false"


@dataclass(slots=True, kw_only=True)
class Output:
    """Of one grant: its function, topic, headers and key, and the columns that it shows in some form."""

    grant_id: str
    subscriber: str
    topic: str
    cut: Cut
    withdraw: Cut | None
    trailer: Callable[[Extras], bytes]
    filter_columns: frozenset[str]
    rekey: Rekey | None
    headers: Headers
    shown: frozenset[str]
    index: int


@dataclass(slots=True, kw_only=True)
class Plan:
    """Everything that a record of one value schema goes through."""

    scan: Callable[[bytes], Spans]
    outputs: list[Output]
    check: Check | None
    check_without: Callable[[frozenset[str]], tuple[Callable[[bytes], Spans], Check] | None]
    complete: Callable[[bytes], bytes | None]
    salt: bytes


class Plans:
    """Builds plans. Not shared between threads: a plan's functions remember what they saw."""

    def __init__(self, schema_of: SchemaOf, hash_key: HashKey, incidents: Incidents | None = None) -> None:
        self._schema_of = schema_of
        self._hash_key = hash_key
        self._incidents: Incidents = incidents or MemoryIncidents()
        self._shapes: dict[int, Shape] = {}
        self._plans: dict[Any, Plan] = {}
        self._usable: dict[str, bool] = {}
        self._refusals: dict[str, str] = {}

    def clear(self) -> None:
        """Forget every plan: contracts or grants have changed."""
        self._plans.clear()
        self._usable.clear()

    def judge_again(self) -> bool:
        """Forget which grants cannot be applied, since what they lack may be there now; whether there are any."""
        refused = [name for name, is_usable in self._usable.items() if not is_usable]
        for name in refused:
            del self._usable[name]
        return bool(refused)

    def is_usable(self, feed: FeedEntry, entry: GrantEntry) -> bool:
        """Whether the grant can be applied to its feed; one that cannot is not live, and is said so once."""
        name = entry.grant.grant_id
        is_usable = self._usable.get(name)
        if is_usable is None:
            try:
                shape = self._shape(feed.value_schema_id)
                if self._is_of_another_edition(shape, feed, entry):  # its successor is on its way
                    self._usable[name] = False
                    return False
                self._cutting(shape, feed, Serving(entry=entry))
                is_usable = True
                if self._refusals.get(name, "?"):  # at first also what a former process said
                    self._refusals[name] = ""
                    self._incidents.end("grant", name)
            except (Misconfigured, Rejected) as error:
                if self._refusals.get(name) != str(error):
                    self._refusals[name] = str(error)
                    _logger.error("grant %s is not served: %s", name, error)  # noqa: TRY400  # the text says all
                    begin_for(self._incidents, "grant", name, "stopped", error)
                is_usable = False
            self._usable[name] = is_usable
        return is_usable

    def plan(self, schema_id: int, feed: FeedEntry, servings: tuple[Serving, ...]) -> Plan:
        """The plan for records of this value schema. Raises Rejected for an unknown schema or one of another kind."""
        key = (
            schema_id,
            feed.feed,
            tuple((s.entry.topic, s.entry.value_schema_id, s.held, s.is_snapshot, s.owed) for s in servings),
        )
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._build(self._shape(schema_id), feed, servings)
        return plan

    def _shape(self, schema_id: int) -> Shape:
        shape = self._shapes.get(schema_id)
        if shape is None:
            shape = self._shapes[schema_id] = Shape.of(self._schema_of(schema_id))
        return shape

    def _cutting(self, shape: Shape, feed: FeedEntry, serving: Serving) -> Cutting:
        return cutting(
            shape,
            self._shape(serving.entry.value_schema_id),
            serving.entry,
            key=feed.contract.key,
            is_keyed_only=feed.is_keyed_only,
            hash_key=self._hash_key,
            held=serving.held_filter,
            is_snapshot=serving.is_snapshot,
        )

    def _cutting_or_refusal(self, shape: Shape, feed: FeedEntry, serving: Serving) -> Cutting:
        """A grant that records of this schema cannot be cut for rejects them one by one: the others are not stopped.

        Those of another edition of the feed are suppressed: whichever is the later, its rows come all anew
        (ops/onboarding/follow.py).
        """
        if self._is_of_another_edition(shape, feed, serving.entry):
            return _whole(lambda b, s: None)  # noqa: ARG005  # a Cut's shape
        try:
            return self._cutting(shape, feed, serving)
        except (Misconfigured, Rejected) as error:
            detail = str(error)

        def refuse(b: bytes, s: Spans) -> bytes | None:  # noqa: ARG001  # a Cut's shape
            raise Rejected("not_projectable", detail)

        return _whole(refuse)

    def _is_of_another_edition(self, shape: Shape, feed: FeedEntry, entry: GrantEntry) -> bool:
        """Whether a column of the grant was written with another type than it has in the grant's topic, or, hashed, in the feed."""
        out, now, mask = self._shape(entry.value_schema_id), self._shape(feed.value_schema_id), entry.grant.mask
        kinds = {name: kind for name, kind in out.column_types.items() if mask.get(name, Mask.FULL) is Mask.FULL}
        kinds |= {name: kind for name, kind in now.column_types.items() if mask.get(name) is Mask.HASH}
        written = shape.column_types
        return any(_typed(written[name]) != _typed(kind) for name, kind in kinds.items() if name in written)

    def _build(self, shape: Shape, feed: FeedEntry, servings: tuple[Serving, ...]) -> Plan:
        cuttings = [self._cutting_or_refusal(shape, feed, serving) for serving in servings]
        enrichment = Enrichment(feed.contract, shape)
        wanted = frozenset[int]().union(*(each.boundaries for each in cuttings))
        owed = [serving.owed for serving in servings if serving.owed is not None]
        wanted = wanted.union(*(boundaries_of(each, shape, feed.contract.key) for each in owed))
        scanner = Scanner(shape, wanted | enrichment.boundaries)
        partial: dict[frozenset[str], tuple[Callable[[bytes], Spans], Check] | None] = {}

        def check_without(columns: frozenset[str]) -> tuple[Callable[[bytes], Spans], Check] | None:
            if columns not in partial:
                less = Enrichment(feed.contract, shape, without=columns)
                its_scanner = Scanner(shape, less.boundaries)
                partial[columns] = (its_scanner.scan, less.build(its_scanner)) if less else None
            return partial[columns]

        return Plan(
            scan=scanner.scan,
            outputs=[
                self._output(index, each, serving, feed, scanner)
                for index, (each, serving) in enumerate(zip(cuttings, servings, strict=True))
            ],
            check=enrichment.build(scanner) if enrichment else None,
            check_without=check_without,
            complete=(lambda b: None) if feed.is_keyed_only else completer(shape),  # noqa: ARG005
            salt=trace_salt(feed.feed),
        )

    def _output(self, index: int, made: Cutting, serving: Serving, feed: FeedEntry, scanner: Scanner) -> Output:
        entry, grant, cut = serving.entry, serving.entry.grant, made.build(scanner)
        if serving.owed is not None and made.kept is not None:
            cut = cut_owed(serving.owed, cut, made.kept(scanner), scanner, feed.contract.key)
        headers = [("grant_id", grant.grant_id.encode()), ("purpose", grant.purpose.encode())]
        hashed = any(grant.mask.get(column) is Mask.HASH for column in feed.contract.key)
        return Output(
            grant_id=grant.grant_id,
            subscriber=grant.subscriber,
            topic=entry.topic,
            cut=cut,
            withdraw=made.withdrawal(scanner) if made.withdrawal else None,
            trailer=made.trailer,
            filter_columns=made.filter_columns,
            rekey=self._rekey(entry, feed) if hashed else None,
            headers=headers,
            shown=frozenset(
                name for name in (*grant.columns, *feed.contract.key) if grant.mask.get(name) is not Mask.DROP
            ),
            index=index,
        )

    def _rekey(self, entry: GrantEntry, feed: FeedEntry) -> Rekey:
        """From the feed's key bytes to the grant's, with hashed columns as text."""
        schema = self._schema_of(feed.key_schema_id)
        types = Types(schema)
        secret = self._hash_key(entry.grant.subscriber)
        steps: list[tuple[Any, Any]] = []
        out_types = {each["name"]: each["type"] for each in self._schema_of(entry.key_schema_id)["fields"]}
        for each in schema["fields"]:
            is_hashed = entry.grant.mask.get(each["name"]) is Mask.HASH
            convert = hasher(types, each["type"], out_types[each["name"]], secret) if is_hashed else None
            steps.append((types.skip(each["type"]), convert))
        head, written = frame(entry.key_schema_id), frame(feed.key_schema_id)

        def rekey(key: bytes) -> bytes:
            if key[:5] != written:
                raise Rejected("unknown_key_schema", "the key is not in the feed's key schema")
            parts = [head]
            p = 5
            for skip, convert in steps:
                end = skip(key, p)
                parts.append(key[p:end] if convert is None else convert(key, p, end))
                p = end
            return b"".join(parts)

        return rekey


def _typed(kind: AvroType) -> list[AvroType]:
    """The branches of a column's type that are not null: what stays the same within an edition."""
    return [branch for branch in (kind if isinstance(kind, list) else [kind]) if branch != "null"]


def _whole(cut: Cut) -> Cutting:
    """A cutting that needs nothing of the record's row."""
    return Cutting(
        boundaries=frozenset(),
        build=lambda _: cut,
        withdrawal=None,
        trailer=encode_extras,
        filter_columns=frozenset(),
    )


def completer(shape: Shape) -> Callable[[bytes], bytes | None]:
    """From a record whose source left columns unsent to the same record with their values, which `before` has.

    None where `before` does not have them all. A column is left unsent only because it did not change (an out-of-line value
    in PostgreSQL), and then it is not null.
    """
    scanner: Scanner | None = None
    place = {name: index for index, name in enumerate(shape.columns)}

    def complete(b: bytes) -> bytes | None:
        nonlocal scanner
        if scanner is None:
            scanner = Scanner(shape, range(len(shape.columns) + 1))
        _, x, y, src, _, end, extras = scanner.scan(b)
        if x is None or y is None or extras is None:
            return None
        unsent = {place[name] for name in extras.unchanged if name in place}
        if any(b[x[index]] == 0 for index in unsent):
            return None
        row = [
            b[x[index] : x[index + 1]] if index in unsent else b[y[index] : y[index + 1]]
            for index in range(len(shape.columns))
        ]
        trailer = encode_extras(Extras((), extras.marks))
        return b"".join((b[: y[0]], *row, b[src:end], trailer))

    return complete
