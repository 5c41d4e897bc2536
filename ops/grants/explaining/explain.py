"""Explaining: `mesh grant explain <id> --key K`, for one row why it is or is not at the subscriber.

The grant's own cut decides what is let through (streams/egress), and nothing is shown of a column tagged PII. Steps are looked at in
the order in which a row comes by them; the verdict is the first that speaks against.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime

from ops.command.terminal import moment
from ops.grants.decide import grant_named
from ops.grants.explaining.arrival import Arrival
from ops.grants.explaining.explanation import Explanation, verdict_of
from ops.grants.explaining.explanation import Look as Step
from ops.grants.explaining.grant_step import state_of
from ops.grants.explaining.look import Found, Look, Place, Say
from ops.grants.explaining.row_key import key_given
from ops.settings import Connections, Settings
from ops.show.tail import View, shown
from ops.trust.hash_key import HashKeys
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Mask
from schemas.change import Change, Op
from schemas.errors import Misconfigured, Rejected
from schemas.expression.expression import parse
from schemas.log.control.follower import read_directory
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec
from schemas.wire.envelope import unframe
from streams.egress.cut import Removal, ScopeUnknown
from streams.egress.plan import Output, Plan, Plans, Serving


def explain(settings: Settings, grant_id: str, given: Sequence[str], say: Say) -> Explanation:
    """Look at everything on the row's way. Raises Misconfigured for what is no grant or no key, and Transient."""
    directory = read_directory(settings.kafka)
    entry = grant_named(directory, grant_id)
    feed = directory.feeds.get(entry.grant.feed)
    if feed is None:
        fix = "nothing can be looked up any more; `mesh grant show` has its history"
        raise Misconfigured(f"grant {grant_id}", f"its feed {entry.grant.feed} has left the mesh", fix=fix)
    key = key_given(feed.contract, given)
    with closing(RegistryClient(settings.registry)) as registry:
        plans = Plans(registry.schema, HashKeys(Connections(settings.directory), lambda: directory))
        row = _Row(directory, entry, feed, Look(settings, say), Codec(registry.schema), plans)
        looks = list(row.steps(row.codec.encode(feed.key_schema_id, key)))
    verdict, is_there = verdict_of(looks)
    return Explanation(grant_id=grant_id, verdict=verdict, is_there=is_there, looks=looks)


class _Row:
    """One row on its way through one grant."""

    def __init__(
        self, directory: Directory, entry: GrantEntry, feed: FeedEntry, look: Look, codec: Codec, plans: Plans
    ) -> None:
        self._directory = directory
        self._entry = entry
        self._grant = entry.grant
        self._feed = feed
        self._look = look
        self._plans = plans
        self.codec = codec
        self._view = View(contract=feed.contract)

    def steps(self, key: bytes) -> Iterator[Step]:
        """What is found, in the order of the row's way."""
        yield state_of(self._directory, self._entry, datetime.now(UTC))
        found = self._look.in_feed(self._feed, key)
        change = self._change(found.change)
        yield self._in_feed(found, change)
        if found.change is None or change is None:
            return
        is_wanted, passing = self._passing(found.change, change)
        yield passing
        yield self._columns()
        arrival = Arrival(self._directory, self._entry, self._look, self.codec)
        out_key = self._out_key(found.change, key)
        yield from arrival.steps(found.change, change, key, out_key, is_wanted=is_wanted)

    def _change(self, place: Place | None) -> Change | None:
        if place is None:
            return None
        try:
            return self.codec.change(self._feed.feed, place.record)
        except Rejected as error:
            problem = f"its record at {place.partition}@{place.record.offset} cannot be read ({error.reason})"
            raise Misconfigured(
                f"feed {self._feed.feed}", problem, fix="`mesh dlq list` shows what was set aside"
            ) from error

    def _in_feed(self, found: Found, change: Change | None) -> Step:
        name = "feed 数据"
        if found.change is None or change is None:
            gone = "deleted so long ago that only its end is left" if found.last is not None else "never there"
            told = f"the feed {self._feed.feed} has no such row: it was {gone}, or it is not captured yet"
            return Step(
                name=name, standing="no", told=told, fix="see the key with `mesh tail`, and the lag in `mesh status`"
            )
        place = found.change
        told = f"last change {_VERBS[change.op]} of {moment(_committed(change))}, position {change.position}"
        told += f", at {place.partition}@{place.record.offset}"
        if found.emptied_at is not None and found.emptied_at > place.record.offset:
            return Step(name=name, standing="no", told=f"{told}; the whole table was emptied after it")
        if change.op is Op.DELETE:
            return Step(name=name, standing="no", told=f"it was deleted in its source: {told}")
        return Step(name=name, standing="yes", told=told)

    def _passing(self, place: Place, change: Change) -> tuple[bool, Step]:
        """What the grant's cut makes of the change, and the row filter in words."""
        name, text = "row filter", self._grant.row_filter
        try:
            out = self._cut(place)
        except ScopeUnknown:
            out = None
        except Rejected as error:
            told = f"the change cannot be cut for the grant: {error.reason}"
            return False, Step(name=name, standing="no", told=told, fix=error.fix)
        is_in = out is not None and not isinstance(out, Removal)
        if text is None:
            return is_in, Step(name=name, standing="yes", told="the grant has none: every row is in")
        told = self._filtered(text, change)
        if change.op is Op.DELETE:
            return is_in, Step(name=name, standing="open", told=f"{told}: the row is gone")
        side = "inside" if is_in else "outside"
        return is_in, Step(name=name, standing="yes" if is_in else "no", told=f"the row is {side} {told}")

    def _cut(self, place: Place) -> bytes | None:
        value = place.record.value
        assert value is not None
        plan, output = self._plan(value)
        spans = plan.scan(value)
        extras = spans[6]
        if extras is not None and extras.unchanged and (whole := plan.complete(value)) is not None:
            value, spans = whole, plan.scan(whole)
        return output.cut(value, spans)

    def _plan(self, value: bytes) -> tuple[Plan, Output]:
        plan = self._plans.plan(unframe(value)[0], self._feed, (Serving(entry=self._entry),))
        return plan, plan.outputs[0]

    def _out_key(self, place: Place, key: bytes) -> bytes:
        value = place.record.value
        assert value is not None
        output = self._plan(value)[1]
        return key if output.rekey is None else output.rekey(key)

    def _filtered(self, text: str, change: Change) -> str:
        """The filter, and the values that it reads, as far as they may be seen: its constants may be somebody's, too."""
        columns, row = sorted(parse(text).columns), change.after or change.before or {}
        hidden = self._view.hidden.intersection(columns)
        values = self._view.row({column: row.get(column) for column in columns}) or {}
        told = [f"{column}={shown(values[column])}" for column in columns if column not in change.unchanged]
        told += [f"{column} was not sent by the source" for column in columns if column in change.unchanged]
        words = f"the row filter on {', '.join(columns)}" if hidden else f"the row filter {text}"
        return f"{words} ({', '.join(told)})"

    def _columns(self) -> Step:
        grant, contract = self._grant, self._feed.contract
        leaving = dict.fromkeys([*contract.key, *grant.columns])
        told = [
            name if (mask := grant.mask.get(name, Mask.FULL)) is Mask.FULL else f"{name} ({mask})"
            for name in leaving
            if grant.mask.get(name) is not Mask.DROP
        ]
        held_back = [
            field.name
            for field in contract.fields
            if field.name not in leaving or grant.mask.get(field.name) is Mask.DROP
        ]
        text = f"gets {', '.join(told)}" + (f"; not {', '.join(held_back)}" if held_back else "")
        return Step(name="columns", standing="yes", told=text)


_VERBS = {Op.CREATE: "insert", Op.UPDATE: "update", Op.DELETE: "delete", Op.READ: "snapshot", Op.TRUNCATE: "truncate"}


def _committed(change: Change) -> datetime:
    return datetime.fromtimestamp(change.committed_at_ms / 1000, UTC)
