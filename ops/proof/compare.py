"""Compare: does a subscriber hold exactly what its grant entitles it to? Worked out from the source, without the mesh.

Nothing of streams/ or sinks/ is used here: the row filter is read a second time (condition.py), masks are applied from their
description in schemas/agreement/grant.py, and rows that a contract's own rules reject are left out by the validators. Reports
carry counts, never values. The source of a captured feed is its table; of a feed that a flow writes, the rows that stand in
it (derived.py).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ops.proof.condition import condition
from ops.proof.held import Rows, held
from ops.proof.plain import plain
from schemas.agreement.grant import Grant, Mask
from schemas.contract import Contract, Field
from schemas.errors import Misconfigured
from sinks.copy import Copy, granted

Source = Iterable[Mapping[str, Any]]
"""The rows of the source, column to value as a database gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Counts of rows: what the source entitles to, what the copy has, and where they part.

    `withdrawn` counts values in columns that the grant does not allow, or no longer.
    """

    expected: int
    found: int
    missing: int
    surplus: int
    different: int
    withdrawn: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether the copy is the source's view to the last value."""
        return not (self.missing or self.surplus or self.different or self.withdrawn)

    def to_json(self) -> dict[str, Any]:
        """The counts and the verdict."""
        return {**asdict(self), "exact": self.is_exact}


def compare(
    grant: Grant,
    contract: Contract,
    source: Source,
    copy: Copy,
    hash_key: bytes | None = None,
) -> Comparison:
    """Compare one grant's copy with its source, row by row and column by column.

    Both must stand still. `hash_key` is the subscriber's secret for HASH masks, needed only where the grant has one. Raises
    Transient when the copy cannot be read.
    """
    expected = entitled(grant, contract, source, hash_key)
    found = held(copy, grant, contract)
    shared = expected.keys() & found.keys()
    return Comparison(
        expected=len(expected),
        found=len(found),
        missing=len(expected) - len(shared),
        surplus=len(found) - len(shared),
        different=sum(expected[key] != found[key] for key in shared),
        withdrawn=copy.values_left(grant, contract),
    )


def entitled(grant: Grant, contract: Contract, source: Source, hash_key: bytes | None = None) -> Rows:
    """The rows that the subscriber must hold: valid by the contract's rules, inside the filter, projected and masked."""
    conditions = [condition(rule.expression) for rule in contract.rules if rule.is_fatal]
    if grant.row_filter is not None:
        conditions.append(condition(grant.row_filter))
    fields = granted(grant, contract)
    show = [_shown(field, grant, hash_key) for field in fields]
    names = [field.name for field in fields]
    keys = [place for place, field in enumerate(fields) if field.is_key]
    rows: Rows = {}
    for row in source:
        if all(holds(row) for holds in conditions):
            values = tuple(shown(row[name]) for name, shown in zip(names, show, strict=True))
            rows[tuple(values[place] for place in keys)] = values
    return rows


def _shown(field: Field, grant: Grant, hash_key: bytes | None) -> Callable[[Any], Any]:
    mask = grant.mask.get(field.name, Mask.FULL)
    is_text = field.branches[0] == "string"
    if mask is Mask.MASK:
        return _hidden if is_text else lambda _: None
    if mask is Mask.HASH:
        if hash_key is None or not is_text:
            raise Misconfigured(
                f"grant {grant.grant_id}",
                f"the comparison cannot hash column {field.name}",
                fix="give the subscriber's hash key, and hash text columns only",
            )
        return lambda value: None if value is None else hmac.new(hash_key, value.encode(), hashlib.sha256).hexdigest()
    return plain(field, mask)


def _hidden(text: str | None) -> str | None:
    """Stars between the first and the last character; of two characters only the first is seen, of one none."""
    if text is None:
        return None
    if len(text) < 3:
        return text[: len(text) - 1] + "*" * min(1, len(text))
    return text[0] + "*" * (len(text) - 2) + text[-1]
