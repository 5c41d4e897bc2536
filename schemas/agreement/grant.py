"""Grant (授权): who may read which feed, which columns and rows of it, how masked, for what purpose, until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from schemas.errors import Misconfigured


class Status(StrEnum):
    """The life of a grant; only ACTIVE lets anything flow (invariant 6)."""

    DRAFT = "DRAFT"
    SUBMITTED = "SUBMITTED"
    COMPLIANCE_OK = "COMPLIANCE_OK"
    PROVIDER_OK = "PROVIDER_OK"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"
    REFUSED = "REFUSED"


class Mask(StrEnum):
    """What a subscriber sees of a granted column."""

    FULL = "FULL"  # as it is
    MASK = "MASK"  # partly hidden: text keeps its first and last characters, anything else becomes null
    HASH = "HASH"  # keyed hash (HMAC-SHA256, hexadecimal), joinable within one subscriber only
    DROP = "DROP"  # absent from the egress schema


class AtEnd(StrEnum):
    """What becomes of the rows at the subscriber when the grant is over."""

    REMOVE = "remove"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One grant. `columns` lists what may flow; key columns are always part of it.

    `row_filter` is an expression over the row (schemas/expression/expression.py), None for every row. `sink` names the subscriber's
    sink that receives it. `valid_from` and `valid_to` are aware datetimes; the end is exclusive, None is open.
    `at_end` says whether what was delivered is removed from the subscriber's system once the grant is over.
    """

    grant_id: str
    subscriber: str
    feed: str
    columns: tuple[str, ...]
    purpose: str
    sink: str = "main"
    row_filter: str | None = None
    mask: Mapping[str, Mask] = field(default_factory=dict[str, Mask])
    matter_code: str | None = None
    legal_basis: str | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    status: Status = Status.ACTIVE
    at_end: AtEnd = AtEnd.REMOVE

    def __post_init__(self) -> None:
        expected = f"{self.subscriber}.{self.feed}"
        if self.grant_id != expected and not self.grant_id.startswith(f"{expected}."):
            raise Misconfigured(f"grant {self.grant_id}", "its id does not match", fix=f"name it {expected}")
        if not self.purpose.strip():
            raise Misconfigured(f"grant {self.grant_id}", "has no purpose", fix="add `purpose:`; it is mandatory")
        if not self.columns:
            raise Misconfigured(f"grant {self.grant_id}", "names no columns", fix="list the granted columns")

    @property
    def delivered_as(self) -> str:
        """What its rows are called at the subscriber: the feed, and the purpose if it is a second grant."""
        return self.grant_id.removeprefix(f"{self.subscriber}.")

    def is_active(self, now: datetime) -> bool:
        """Whether the grant lets changes flow at this moment (an aware datetime)."""
        return (
            self.status is Status.ACTIVE
            and (self.valid_from is None or self.valid_from <= now)
            and (self.valid_to is None or now < self.valid_to)
        )

    def is_over(self, now: datetime) -> bool:
        """Whether the grant has come to its end: revoked, or past its validity. One that is suspended has not."""
        return self.status in {Status.REVOKED, Status.EXPIRED} or (self.valid_to is not None and self.valid_to <= now)

    def holds_nobody(self, now: datetime) -> bool:
        """Whether contracts may change as if it were not there: nothing flows by it, unless it is given anew."""
        return self.is_over(now) or self.status in {Status.DRAFT, Status.REFUSED}

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.grants`."""
        record = asdict(self)
        record["columns"] = list(self.columns)
        for name in ("valid_from", "valid_to"):
            record[name] = value.isoformat() if (value := record[name]) else None
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Grant:
        """Read a record of `mesh.grants`, or an entry of a subscriber file. Raises Misconfigured on bad input."""
        name = f"grant {record.get('grant_id', '(without id)')}"
        unknown = set(record) - set(cls.__dataclass_fields__)
        if unknown:
            raise Misconfigured(name, f"unknown entries {sorted(unknown)}", fix="remove or correct them")
        values = dict(record)
        try:
            values["columns"] = tuple(values["columns"])
            values["mask"] = {column: Mask(mask) for column, mask in (values.get("mask") or {}).items()}
            values["status"] = Status(values.get("status", Status.ACTIVE))
            values["at_end"] = AtEnd(values.get("at_end", AtEnd.REMOVE))
            for end in ("valid_from", "valid_to"):
                moment = values.get(end)
                moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
                if moment is not None and moment.tzinfo is None:
                    raise ValueError(f"{end} has no time zone")
                values[end] = moment
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise Misconfigured(
                name, f"cannot be read ({error})", fix="see schemas/agreement/grant.py for its fields"
            ) from error
