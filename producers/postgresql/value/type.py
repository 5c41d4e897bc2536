"""Types of PostgreSQL columns, and how the values of each print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from producers.postgresql.value import floats as pg_floats
from producers.postgresql.value import nested as pg_nested
from producers.postgresql.value import search as pg_search
from producers.postgresql.value import text as pg_text
from producers.postgresql.value.encoding import to_utf8
from producers.postgresql.value.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class PgType:
    """A column's type with domains resolved. `name` is pg_type.typname; an enum's values are text.

    An array has an `element`, a range or multirange its `bound`, a composite type its `members` by the oid of their types;
    `known` finds other types by oid, for a row that was written when the composite type was another. `has_output_only`
    says that the server sends no binary form: alone in a column such a value comes as text.
    """

    name: str
    is_enum: bool = False
    element: PgType | None = None
    delimiter: str = ","
    bound: PgType | None = None
    is_multirange: bool = False
    members: tuple[tuple[int, PgType], ...] | None = None
    known: Callable[[int], PgType | None] | None = field(default=None, compare=False, repr=False)
    has_output_only: bool = False

    @property
    def is_base(self) -> bool:
        """Whether it is made of nothing else."""
        return not self.is_enum and self.element is None and self.bound is None and self.members is None

    @property
    def parts(self) -> tuple[PgType, ...]:
        """What it is made of."""
        one = self.element or self.bound
        return (one,) if one else tuple(member for _, member in self.members or ())

    @property
    def is_unsendable(self) -> bool:
        """Whether it holds a type without a binary form, which the server sends neither so nor as text."""
        return any(part.has_output_only or part.is_unsendable for part in self.parts)

    @property
    def text(self) -> Text | None:
        """How a value prints; None for a type that has no mapping."""
        return self.text_in("")

    def text_in(self, codec: str) -> Text | None:
        """The same as UTF-8, of a value whose text is in another encoding; an empty codec says that it is UTF-8."""
        if self.is_enum or self.has_output_only:
            return to_utf8(codec) if codec else pg_text.verbatim
        if self.is_base:
            text = TEXT.get(self.name)
            return _recoded(text, codec) if text and codec else text
        texts = [part.text_in(codec) for part in self.parts]
        if None in texts:
            return None
        if self.members is not None:
            return pg_nested.composite(_Members(self.members, self.known, codec))
        (inner,) = (text for text in texts if text)
        if self.element is not None:
            return pg_nested.array_of(inner, self.delimiter)
        span = pg_nested.range_of(inner)
        return pg_nested.multirange_of(span) if self.is_multirange else span

    def __str__(self) -> str:
        return f"{self.element}[]" if self.element else self.name


def _recoded(text: Text, codec: str) -> Text:
    """How a base type prints, as UTF-8. Converted before anything is quoted: half a GBK character may be a backslash."""
    convert = to_utf8(codec)
    if text is pg_text.verbatim or text is pg_text.versioned:
        return lambda raw: convert(text(raw))
    if text is pg_nested.hstore:
        return lambda raw: pg_nested.hstore(raw, convert)

    def plain(raw: bytes) -> bytes:
        printed = text(raw)
        printed.decode("ascii")  # numbers, times and the like; of tsvector and tsquery only words of this kind
        return printed

    return plain


class _Members:
    """Finds how a member of a composite type prints, by the oid of its type."""

    __slots__ = ("_codec", "_found", "_known")

    def __init__(
        self, members: tuple[tuple[int, PgType], ...], known: Callable[[int], PgType | None] | None, codec: str
    ) -> None:
        self._found: dict[int, Text | None] = {oid: member.text_in(codec) for oid, member in members}
        self._known = known
        self._codec = codec

    def __call__(self, oid: int) -> Text | None:
        if oid not in self._found:
            other = self._known(oid) if self._known else None
            self._found[oid] = other.text_in(self._codec) if other else None
        return self._found[oid]


OIDS = frozenset(
    f"reg{kind}"
    for kind in (
        "proc", "procedure", "oper", "operator", "class", "type", "config", "dictionary", "namespace", "role", "collation",
        "database",
    )
)  # fmt: skip
"""Types that are sent as the number of an object whose name they print: the name is not ours to know."""

_TEXTS = ("text", "varchar", "bpchar", "name", "json", "xml", "unknown", "refcursor")

TEXT: dict[str, Text] = {
    **dict.fromkeys(_TEXTS, pg_text.verbatim),
    **dict.fromkeys(("int2", "int4", "int8"), pg_text.integer),
    **dict.fromkeys(("oid", "xid", "cid", "xid8"), pg_text.unsigned),
    **dict.fromkeys(("jsonb", "jsonpath"), pg_text.versioned),
    **dict.fromkeys(("inet", "cidr"), pg_text.network),
    **dict.fromkeys(("macaddr", "macaddr8"), pg_text.hardware_address),
    **dict.fromkeys(("bit", "varbit"), pg_text.bits),
    **dict.fromkeys(("pg_snapshot", "txid_snapshot"), pg_text.visible_transactions),
    "int2vector": pg_nested.plain_list(pg_text.integer),
    "oidvector": pg_nested.plain_list(pg_text.unsigned),
    "bool": pg_text.boolean,
    "char": pg_text.single_char,
    "bytea": pg_text.byte_array,
    "uuid": pg_text.uuid,
    "pg_lsn": pg_text.lsn,
    "tid": pg_text.row_place,
    "numeric": pg_text.numeric,
    "float4": pg_floats.float4,
    "float8": pg_floats.float8,
    "date": pg_text.day,
    "timestamp": pg_text.timestamp,
    "timestamptz": pg_text.timestamptz,
    "time": pg_text.time,
    "timetz": pg_text.timetz,
    "interval": pg_text.interval,
    "money": pg_text.money,
    "point": pg_floats.point,
    "box": pg_floats.box,
    "lseg": pg_floats.segment,
    "line": pg_floats.line,
    "path": pg_floats.path,
    "polygon": pg_floats.polygon,
    "circle": pg_floats.circle,
    "tsvector": pg_search.tsvector,
    "tsquery": pg_search.tsquery,
}
"""From a type's name to its text; a base type that is not here goes only into `bytes`, as sent."""

EXTENSIONS: dict[str, dict[str, Text]] = {
    "citext": {"citext": pg_text.verbatim},
    "ltree": dict.fromkeys(("ltree", "lquery", "ltxtquery"), pg_text.versioned),
    "hstore": {"hstore": pg_nested.hstore},
    "vector": {
        "vector": pg_floats.vector,
        "halfvec": pg_floats.half_vector,
        "sparsevec": pg_floats.sparse_vector,
    },
}
"""Types that extensions bring, by extension: a type of such a name from elsewhere is another type."""

for _types in EXTENSIONS.values():
    TEXT.update(_types)
