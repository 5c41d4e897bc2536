"""Enrich: what a contract says of its rows, checked on each change before any grant sees it.

Checks are built once per contract and value schema, and read only their own columns of `after`; a contract without rules,
vocabularies and validated elements costs nothing. The row's own values are never altered: findings travel as marks in the
envelope's `dq`. A fatal rule rejects the change (invariant 3: it goes to the dead letters instead).

| what                          | mark                                                                             |
|-------------------------------|----------------------------------------------------------------------------------|
| `gov.element` of a column     | a validator's code (`CHECK`, `DATE`, …) for INVALID; `UPGRADED` with the 18-digit form; |
|                               | `AMBIGUOUS_CENTURY`; `NORMALISED` where the canonical text differs; each warning |
| `gov.values` of a column      | `VALUES`: the value is not in the closed vocabulary                              |
| `gov.rules`, onFailure WARN   | the rule's name, with the columns that it reads                                  |
| `gov.rules`, onFailure DLQ    | none: Rejected("rule_<name>")                                                    |

Elements with a validator: `citizen_id`, `uscc`, `org_code`, `registration_no`, `disability_card`. What a row declares beside
its number is found by column name: `sex` for a citizen ID, `citizen_id`, `kind` and `level` for a disability card.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from schemas.contract import Contract, Field, Rule
from schemas.errors import Rejected
from schemas.expression import identifiers
from schemas.expression.code import source_of
from schemas.expression.expression import parse
from schemas.wire.code import Code
from schemas.wire.row_binding import Load, SpanBinding, encode, loader
from schemas.wire.scan import Mark, Scanner, Shape
from schemas.wire.spans import far_text
from schemas.wire.varint import read_long

Check = Callable[[bytes, tuple[int, ...], int], tuple[Mark, ...]]
"""From an envelope, the boundaries of `after` and the start of `source` to the marks. Raises Rejected for a fatal rule."""

Validator = Callable[..., identifiers.Validation]

_VALIDATORS: Mapping[str, tuple[Validator, tuple[str, ...]]] = {
    "citizen_id": (identifiers.validate_citizen_id, ("sex",)),
    "uscc": (identifiers.validate_uscc, ()),
    "org_code": (identifiers.validate_org_code, ()),
    "registration_no": (identifiers.validate_registration_no, ()),
    "disability_card": (identifiers.validate_disability_card, ("citizen_id", "kind", "level")),
}
_MEMO_MAX = 16384
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EARLIEST_COMMIT_DAY = date(2000, 1, 1).toordinal() - _EPOCH_DAY
_SHANGHAI_MS = 8 * 3600 * 1000
_DAY_MS = 86_400_000


class Enrichment:
    """The checks of one contract on one value schema. `boundaries` are what they need of a Scanner."""

    def __init__(self, contract: Contract, shape: Shape, without: frozenset[str] = frozenset()) -> None:
        """`without`: columns that the source did not send; checks that read them are left out."""
        self._contract = contract
        self._shape = shape
        known = {name for name in shape.columns if name in contract.by_name} - without
        self._elements = [
            field for field in contract.fields if field.name in known and field.gov.get("element") in _VALIDATORS
        ]
        self._vocabularies = [field for field in contract.fields if field.name in known and field.gov.get("values")]
        self._rules = [rule for rule in contract.rules if not parse(rule.expression).columns & without]
        columns = {field.name for field in [*self._elements, *self._vocabularies]}
        columns |= {name for field in self._elements for name in self._companions(field)}
        columns |= {name for rule in self._rules for name in parse(rule.expression).columns if name in shape.columns}
        places = {shape.columns.index(name) for name in columns}
        self.columns = frozenset(columns)
        self.boundaries = frozenset(place + end for place in places for end in (0, 1))

    def __bool__(self) -> bool:
        """Whether there is anything to check."""
        return bool(self._elements or self._vocabularies or self._rules)

    def build(self, scanner: Scanner) -> Check:
        """Generate the checks against the boundaries of this scanner."""
        code = Code()
        keep = code.keep
        lines = ["def check(b, y, src):", "    marks = ()"]
        for field in self._elements:
            lines += self._element(field, scanner, keep)
        for field in self._vocabularies:
            lines += self._vocabulary(field, scanner, keep)
        for rule in self._rules:
            lines += self._rule(rule, scanner, keep)
        lines.append("    return marks")
        return code.build(lines, "check")

    def _companions(self, field: Field) -> list[str]:
        declared = _VALIDATORS[field.gov["element"]][1]
        return [name for name in declared if name != field.name and name in self._shape.columns]

    def _element(self, field: Field, scanner: Scanner, keep: Callable[[Any], str]) -> list[str]:
        names = [field.name, *self._companions(field)]
        binding = SpanBinding(self._shape, scanner.slot, "y", keep)
        spans = [f"b[{start}:{end}]" for start, end in map(binding.span, names)]
        loads = [loader(self._shape.types, self._shape.column_types[name]) for name in names]
        memo: dict[tuple[bytes, ...], tuple[tuple[Mark, ...], int]] = {}
        find = _finder(field, names, loads, memo)
        committed_on = _commit_day(self._shape)
        code = "ID_DATE" if field.gov["element"] == "disability_card" else "DATE"
        late = ((Mark(code, (field.name,)),),)
        return [
            f"    key = ({', '.join(spans)}, )",
            f"    found = {keep(memo)}.get(key) or {keep(find)}(key)",
            "    if found[1]:",  # a birth date that may lie after the commit
            f"        marks += {keep(late)}[0] if found[1] > {keep(committed_on)}(b, src) else found[0]",
            "    elif found[0]:",
            "        marks += found[0]",
        ]

    def _vocabulary(self, field: Field, scanner: Scanner, keep: Callable[[Any], str]) -> list[str]:
        binding = SpanBinding(self._shape, scanner.slot, "y", keep)
        avro_type = self._shape.column_types[field.name]
        kind = next(branch for branch in field.branches)
        values: list[Any] = [None]
        for code in field.gov["values"]:
            values.append(int(code) if kind in ("int", "long") and str(code).lstrip("-").isdigit() else str(code))
        if any(encode(self._shape.types, avro_type, value) is None for value in values):
            return []
        mark = (Mark("VALUES", (field.name,)),)
        return [f"    if not {binding.equals(field.name, values)}:", f"        marks += {keep(mark)}"]

    def _rule(self, rule: Rule, scanner: Scanner, keep: Callable[[Any], str]) -> list[str]:
        expression = parse(rule.expression)
        binding = SpanBinding(self._shape, scanner.slot, "y", keep)
        truth = source_of(expression, self._shape.column_types, binding, keep)
        if rule.is_fatal:
            failed = f"raise {keep(_refusal(self._contract.feed, rule))}()"
        else:
            columns = tuple(field.name for field in self._contract.fields if field.name in expression.columns)
            failed = f"marks += {keep((Mark(rule.name, columns),))}"
        return [*(f"    {line}" for line in binding.loads), f"    if not {truth}:", f"        {failed}"]


def _refusal(feed: str, rule: Rule) -> Callable[[], Rejected]:
    return lambda: Rejected(
        f"rule_{rule.name}",
        f"{feed}: rule {rule.name} does not hold",
        fix="correct the row at its source; the corrected change passes by itself",
    )


def _finder(
    field: Field, names: list[str], loads: list[Load], memo: dict[tuple[bytes, ...], tuple[tuple[Mark, ...], int]]
) -> Callable[[tuple[bytes, ...]], tuple[tuple[Mark, ...], int]]:
    """Runs the validator on a number not seen lately; remembers a bounded number of findings, in memory only."""
    validate, declarable = _VALIDATORS[field.gov["element"]]

    def find(key: tuple[bytes, ...]) -> tuple[tuple[Mark, ...], int]:
        text, *rest = (load(span, 0, len(span)) for load, span in zip(loads, key, strict=True))
        found: tuple[tuple[Mark, ...], int] = ((), 0)
        if isinstance(text, bytes):
            options: dict[str, Any] = {}
            if declarable:
                options["declared"] = {name: _plain(value) for name, value in zip(names[1:], rest, strict=True)}
            found = _marks(field.name, text.decode("utf-8", "replace"), validate, options)
        if len(memo) >= _MEMO_MAX:
            memo.clear()
        memo[key] = found
        return found

    return find


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _marks(column: str, text: str, validate: Validator, options: Mapping[str, Any]) -> tuple[tuple[Mark, ...], int]:
    """The marks of one number, and its birth date as days since 1970 if that may lie after a commit."""
    result = validate(text, **options)
    columns = (column,)
    if result.status is identifiers.NumberStatus.INVALID:
        return (Mark(result.code or "INVALID", columns),), 0
    marks: list[Mark] = []
    if result.status is identifiers.NumberStatus.UPGRADED:
        marks.append(Mark("UPGRADED", columns, result.normalised))
    elif result.status is identifiers.NumberStatus.AMBIGUOUS_CENTURY:
        marks.append(Mark("AMBIGUOUS_CENTURY", columns))
    elif result.normalised is not None and result.normalised != text:
        marks.append(Mark("NORMALISED", columns, result.normalised))
    marks += [Mark(warning, columns) for warning in result.warnings]
    born = result.facts.get("birth_date")
    born_day = born.toordinal() - _EPOCH_DAY if born else 0
    return tuple(marks), born_day if born_day >= _EARLIEST_COMMIT_DAY else 0


def _commit_day(shape: Shape) -> Callable[[bytes, int], int]:
    """Reads the commit's date in Asia/Shanghai, as days since 1970, from the source block."""
    skips = []
    for field in shape.types.resolve(shape.section("source"))["fields"]:
        if field["name"] == "ts_ms":
            break
        skips.append(far_text if field["type"] == "string" else shape.types.skip(field["type"]))

    def commit_day(b: bytes, src: int) -> int:
        for skip in skips:
            src = skip(b, src)
        return (read_long(b, src)[0] + _SHANGHAI_MS) // _DAY_MS

    return commit_day
