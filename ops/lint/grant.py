"""Grants: what is wrong with those in a subscriber's file, beside the contracts of their feeds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.kinds.sinks import SINKS
from ops.known_names import did_you_mean
from ops.lint.folder import CODE, grant_of
from ops.lint.folder_form import GrantForm
from ops.lint.inspected import Inspected
from ops.lint.located import Path
from schemas.agreement.grant import Grant, Mask
from schemas.agreement.subscriber import Subscriber
from schemas.contract import Contract
from schemas.errors import Misconfigured
from schemas.expression.expression import parse as parse_expression
from schemas.expression.predicate import predicate
from schemas.feed import check_feed, out_topic

CONDITIONAL = "CONDITIONAL"
_WITHHELD = {False: {Mask.DROP}, True: {Mask.HASH}}
"""The masks under which a NOT_SHARED column does not leave: a key column cannot be dropped, only made unreadable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFeed:
    """A feed that a grant can name, from the checked folder or from the running mesh."""

    contract: Contract
    is_keyed_only: bool
    whole_row_fix: str


class GrantLint:
    """The grants of one subscriber's file. A feed whose contract is broken maps to None in `feeds`.

    `over` are ids of grants that have ended in the running mesh: what their feed has no more is no error of theirs.
    """

    def __init__(
        self,
        file: Inspected,
        subscriber: Subscriber,
        feeds: Mapping[str, KnownFeed | None],
        over: Collection[str] = (),
    ) -> None:
        self._file = file
        self._subscriber = subscriber
        self._feeds = feeds
        self._over = over
        self._seen: set[str] = set()

    def grants(self) -> Iterator[Grant]:
        """The grants in the file that can be read, each looked at."""
        entries = self._file.located.value.get("grants") or []
        if not isinstance(entries, list):
            fix = "write `grants:` and then `- feed: …`"
            self._file.error(("grants",), "", "grants is no list", fix)
            return
        if not entries:
            fix = "add `grants:`; without one nothing flows"
            self._file.warn(("subscriber",), "", "has no grants", fix)
        for index, entry in enumerate(entries):
            at: Path = ("grants", index)
            feed = self._feed(entry, at)
            name = str(entry.get("feed", "")) if isinstance(entry, Mapping) else ""
            if self._file.is_unlike(GrantForm, entry, at, "field of a grant", name):
                continue
            try:
                grant = grant_of(entry, self._subscriber.subscriber)
            except Misconfigured as error:
                self._unreadable(entry, at, feed, error)
                continue
            self._grant(grant, at, None if grant.grant_id in self._over else feed)
            yield grant

    def _feed(self, entry: Any, at: Path) -> KnownFeed | None:
        name = entry.get("feed") if isinstance(entry, Mapping) else None
        if not isinstance(name, str):
            return None
        try:
            check_feed(name)
        except Misconfigured as error:
            self._file.reject((*at, "feed"), name, error)
            return None
        if name not in self._feeds:
            listed = "`mesh catalogue` lists them"
            fix = (
                did_you_mean(name, self._feeds, listed) if self._feeds else "check it together with the agency's folder"
            )
            self._file.error((*at, "feed"), name, "there is no such feed, here or in the running mesh", fix)
        return self._feeds.get(name)

    def _unreadable(self, entry: Any, at: Path, feed: KnownFeed | None, error: Misconfigured) -> None:
        columns = entry.get("columns") if isinstance(entry, Mapping) else None
        name = str(entry.get("feed", "")) if isinstance(entry, Mapping) else ""
        if columns in ("*", ["*"]) or (isinstance(columns, str | None) and feed is not None):
            names = ", ".join(field.name for field in feed.contract.fields) if feed else "<each column by name>"
            fix = f"list what the purpose needs, out of: columns: [{names}]"
            text = "does not name its columns; nothing is granted that is not named (default deny)"
            self._file.error((*at, "columns"), name, text, fix)
        else:
            self._file.reject(at, name, error)

    def _grant(self, grant: Grant, at: Path, feed: KnownFeed | None) -> None:
        name, subscriber = grant.feed, self._subscriber
        if grant.grant_id in self._seen:
            fix = f"give the second its own id, `grant_id: {subscriber.subscriber}.{name}.<purpose>`"
            self._file.error(at, name, f"grant {grant.grant_id} is there twice", fix)
        self._seen.add(grant.grant_id)
        if not all(CODE.fullmatch(part) for part in grant.grant_id.split(".")) or len(out_topic(grant.grant_id)) > 240:
            fix = "use lower-case letters, digits and _, joined by dots, up to 200 characters"
            self._file.error((*at, "grant_id"), name, f"{grant.grant_id} cannot name a topic", fix)
        if subscriber.sink(grant.sink) is None:
            fix = did_you_mean(grant.sink, [sink.name for sink in subscriber.sinks])
            self._file.error((*at, "sink"), name, f"there is no sink {grant.sink}", fix)
        if grant.valid_from and grant.valid_to and grant.valid_from >= grant.valid_to:
            fix = "correct the two dates; the end is exclusive"
            self._file.error((*at, "valid_to"), name, "ends before it begins", fix)
        if feed is not None:
            self._columns(grant, at, feed.contract)
            self._filter(grant, at, feed)
            self._target(grant, at, feed.contract)

    def _target(self, grant: Grant, at: Path, contract: Contract) -> None:
        """What the grant's target could not hold, and delivery would stop at."""
        sink = self._subscriber.sink(grant.sink)
        kind = SINKS.get(sink.kind) if sink else None
        if sink is not None and kind is not None:
            for text, fix in kind.unfit(sink, grant, contract):
                self._file.warn(at, grant.feed, text, fix)

    def _columns(self, grant: Grant, at: Path, contract: Contract) -> None:
        names = [field.name for field in contract.fields]
        if "*" in grant.columns:
            fix = f"list what the purpose needs, out of: columns: [{', '.join(names)}]"
            text = "does not name its columns; nothing is granted that is not named (default deny)"
            self._file.error((*at, "columns"), grant.feed, text, fix)
            return
        for index, column in enumerate(grant.columns):
            field = contract.by_name.get(column)
            place = (*at, "columns", index)
            if field is None:
                fix = did_you_mean(column, names)
                self._file.error(place, grant.feed, f"the contract has no column {column}", fix)
            elif field.gov.get("class") == "NOT_SHARED" and grant.mask.get(column) not in _WITHHELD[field.is_key]:
                fix = f"remove it, or let the department change the class of {column} in its contract"
                text = f"column {column} is NOT_SHARED 不予共享 ({field.gov.get('basis', 'no basis given')})"
                self._file.error(place, grant.feed, text, fix)
        self._masks(grant, at, contract)
        leaving = dict.fromkeys([*grant.columns, *contract.key])
        conditional = [
            name for name in leaving if name in names and contract.by_name[name].gov.get("class") == CONDITIONAL
        ]
        if not conditional and contract.gov.get("class") == CONDITIONAL:
            conditional = [grant.feed]
        if conditional and not grant.legal_basis:
            fix = "add `legal_basis:`, and `matter_code:` where there is one"
            text = f"gives no legal basis for {', '.join(conditional)} (CONDITIONAL 有条件共享)"
            self._file.error(at, grant.feed, text, fix)

    def _masks(self, grant: Grant, at: Path, contract: Contract) -> None:
        for column in contract.key:
            is_shared = contract.by_name[column].gov.get("class") != "NOT_SHARED"
            if not is_shared and column not in grant.columns and grant.mask.get(column) is not Mask.HASH:
                text = f"key column {column} is NOT_SHARED 不予共享, and the key travels with every grant"
                fix = f"write `mask: {{{column}: HASH}}`, or let the department change its class"
                self._file.error(at, grant.feed, text, fix)
        for column, mask in grant.mask.items():
            if column not in grant.columns and column not in contract.key:
                fix = f"add {column} to its columns, or remove the mask"
                self._file.error((*at, "mask", column), grant.feed, f"masks {column}, which it does not grant", fix)
            if column in contract.key and mask in {Mask.DROP, Mask.MASK}:
                fix = "use HASH: the key stays distinct and says nothing"
                text = f"key column {column} cannot be {mask}: rows could not be told apart"
                self._file.error((*at, "mask", column), grant.feed, text, fix)

    def _filter(self, grant: Grant, at: Path, feed: KnownFeed) -> None:
        if grant.row_filter is None:
            return
        place = (*at, "row_filter")
        try:
            expression = parse_expression(grant.row_filter)
            predicate(expression, feed.contract)
        except Misconfigured as error:
            self._file.reject(place, grant.feed, error)
            return
        if feed.is_keyed_only and expression.columns - set(feed.contract.key):
            text = "filters rows, but the source does not send the row as it was, so leaving the filter would go unseen"
            self._file.error(place, grant.feed, text, feed.whole_row_fix)
