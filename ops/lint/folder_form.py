"""What may stand in the files of agencies and subscribers, said by forms: every name, its type, and why it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from datetime import date
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from ops.kinds.sinks import SINKS, SUGGESTED
from schemas.agreement.delivery_policy import DeliveryPolicy
from schemas.form import Written, needed


def _moment(value: Any) -> Any:
    if not isinstance(value, str | date):
        raise ValueError  # noqa: TRY004 - one question: can it be read
    return value


_Any = Annotated[Any, Written(lambda value: value, "as its kind says")]
"""What is looked at by itself."""
_Moment = Annotated[Any, Written(_moment, "a date (2026-01-01) or a time with its zone (2026-01-01T08:00:00+08:00)")]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantForm:
    """One entry of a subscriber's `grants`."""

    feed: str = needed("nobody knows what is granted", "add `feed: <agency>.<table>`")
    purpose: str = needed(
        "a grant is for one purpose, by which it is judged and audited; a second purpose is a second grant",
        "add `purpose:`, in words what the rows are needed for",
    )
    columns: _Any = None
    grant_id: str | None = None
    sink: str | None = None
    row_filter: str | None = None
    mask: Mapping[str, Literal["FULL", "MASK", "HASH", "DROP"]] | None = None
    matter_code: str | None = None
    legal_basis: str | None = None
    at_end: Literal["remove", "keep"] | None = None
    valid_from: _Moment | None = None
    valid_to: _Moment | None = None
    status: Literal["DRAFT", "SUBMITTED", "ACTIVE", "SUSPENDED", "EXPIRED", "REVOKED", "REFUSED"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndForm:
    """One entry of `sources` or `sinks`."""

    name: str = "main"
    kind: str = needed("nobody knows how it is to be reached", f"add `kind:`, such as {SUGGESTED}")
    connection: str | None = None
    options: _Any = None


_SECRETS = sorted({secret.name for kind in SINKS.values() for secret in kind.secrets})
SinkForm = make_dataclass(
    "SinkForm",
    [*((name, str | None, None) for name in _SECRETS), ("delivery", DeliveryPolicy | None, None)],
    bases=(EndForm,),
    frozen=True,
    slots=True,
    kw_only=True,
)
"""One entry of `sinks`, with its policy and the secrets of the kinds that have some; which has which is looked at by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencyForm:
    """`agency.yaml`."""

    agency: str = needed("its feeds are named by it", "add `agency: <code>`: lower-case letters, digits, _")
    name: str | None = None
    name_en: str | None = None
    contact: str | None = None
    classification: str | None = None
    sources: tuple[EndForm, ...] | None = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberForm:
    """`subscriber.yaml`; each grant is looked at by itself."""

    subscriber: str = needed("its grants are named by it", "add `subscriber: <code>`: lower-case letters, digits, _")
    name: str | None = None
    sinks: tuple[SinkForm, ...] | None = ()  # pyright: ignore[reportInvalidTypeForm]  # made from the table of kinds
    grants: _Any = None


RECORD_GOV = frozenset(
    {
        "provider",
        "source",
        "table",
        "key",
        "class",
        "open",
        "basis",
        "resource",
        "code",
        "abstract",
        "format",
        "condition",
        "method",
        "related",
        "rules",
        "updateCycle",
        "board",
        "keyedOnly",
    }
    | {"freshnessSloSeconds"}
)
FIELD_GOV = frozenset({"class", "open", "basis", "element", "unit", "values"})


def misspelt(names: Mapping[str, Any], known: frozenset[str]) -> Mapping[str, str]:
    """Names that are none of ours but look like one, and which; others are kept and ignored, as Avro does."""
    near = {name: get_close_matches(name, known, 1, 0.8) for name in names if name not in known}
    return {name: close[0] for name, close in near.items() if close}
