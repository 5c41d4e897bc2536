"""SinkKind: all that the mesh knows of one kind of sink. `check`, `onboard`, delivery and `verify` ask this value, never its name.

A kind is a room in `sinks/` whose `kind.py` has the value, a line in `ops/kinds/sinks.py`, and its tests. That file loads the
room's parts only where they are called: `mesh check` and the other commands know every kind and open none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import SinkConfig
from schemas.contract import Contract
from schemas.errors import MeshError, Misconfigured
from schemas.form import NoOptions
from sinks.copy import Copy
from sinks.sink import AnsweringSink, BatchingPolicy, Sink, SinkSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What a sink has beside its connection that nobody else is to read: an entry of its file, kept as `<sink>.<name>`.

    `what` names it for people. `needed_because` is empty where the sink can do without; `or_option` is the option that may name
    a kept secret instead. `form` says what one looks like, `variable` how the environment variable that people are told to use ends.
    """

    name: str
    what: str
    needed_because: str = ""
    or_option: str = ""
    form: str = ""
    variable: str = "KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where one grant's rows, or one sink's files, go. Two sinks whose `where` is the same would be in each other's way.

    `directory` is one of this host; two sinks' directories may not lie within each other either.
    """

    what: str
    where: tuple[str, ...]
    directory: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One thing that was tried at a target, and what a person can do where it `is_ok` not."""

    what: str
    is_ok: bool = True
    detail: str = ""
    fix: str = ""


def _takes_every_grant(_sink: SinkConfig, _grant: Grant, _contract: Contract) -> Iterable[tuple[str, str]]:
    return ()


def _nowhere_of_its_own(_setup: SinkSetup, _grants: Sequence[Grant]) -> Iterable[Destination]:
    return ()


def _in_no_database(_setup: SinkSetup) -> Iterable[str]:
    return ()


SinkBuilder = Callable[[SinkSetup], Sink | AnsweringSink]
CopyOf = Callable[[SinkSetup, Grant, Path | None], Copy | None]
ProbeOf = Callable[[SinkSetup, Sequence[Grant]], Iterable[Checked]]
Target = Literal["database", "directory", "receiver", "none"]
BatchingOf = Callable[[SinkSetup], BatchingPolicy]


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkKind:
    """One line of the table of sinks. Without `build` it is pulled: the mesh delivers nothing, its subscriber comes and reads."""

    build: SinkBuilder | None = None
    options: type[Any] = NoOptions
    """The form of its options."""
    secrets: tuple[Secret, ...] = ()
    check_address: Callable[[str], None] | None = None
    """What can be said of an address that stands in the file. Raises Misconfigured."""
    unfit: Callable[[SinkConfig, Grant, Contract], Iterable[tuple[str, str]]] = _takes_every_grant
    """What of a grant its target could not hold and delivery would stop at, each with its fix; options may be of any form."""
    trial: Callable[[SinkSetup], None] | None = None
    """What onboarding tries before anything flows. Raises Misconfigured for what a person must mend, Transient without answer."""
    trial_says: str = "its settings and secrets can be read"
    """What holds once the trial is over."""
    probe: ProbeOf | None = None
    """What `mesh subscription test` tries end to end, without writing a row; the trial where it is None. Raises as the trial does."""
    places: Callable[[SinkSetup, Sequence[Grant]], Iterable[Destination]] = _nowhere_of_its_own
    """Where it puts what these grants deliver. Raises MeshError where its options or secrets cannot be read."""
    databases: Callable[[SinkSetup], Iterable[str]] = _in_no_database
    """Names of the database that it delivers into, as the kind of source that captures such ones has them
    (producers/kind.py), the cheapest first. Raises MeshError."""
    is_beside_source: Callable[[SinkConfig], bool] = lambda _sink: False
    """Whether it is meant to deliver into a database that a mesh captures."""
    copy: CopyOf | None = None
    """How what the subscriber holds by a grant is read back; the path is what the receivers of the example city kept, if any.
    Gives None where it cannot be read from here. Raises Misconfigured."""
    keeps_rows: bool = False
    """Whether its target holds rows as they are, not a history of them: after a grant's end none is left to it."""
    target: Target = "none"
    """What stands at its other end, as far as a stage can be set for it on one host: the demo gives each subscriber one."""
    served_at: Callable[[SinkConfig], str] | None = None
    """The address to which its subscriber comes, by its options; there is nothing to connect to then. Raises Misconfigured."""
    batching: BatchingOf = lambda _setup: BatchingPolicy()
    reads_headers: bool = True
    confirms_by_group: bool = False
    """Of one that is pulled: what its subscriber's own consumer group commits is what it confirmed. It has logins of its own, and is
    told of ends of grants on a topic of its own (schemas/feed.py)."""

    @property
    def is_pulled(self) -> bool:
        """Whether the subscriber reads its topics itself."""
        return self.build is None

    @property
    def has_address(self) -> bool:
        """Whether the mesh has to know where to deliver."""
        return not (self.is_pulled or self.served_at)

    def probed(self, setup: SinkSetup, grants: Sequence[Grant]) -> Iterable[Checked]:
        """Try a target, of which these grants are delivered. Raises nothing that is the target's."""
        try:
            if self.probe is not None:
                yield from self.probe(setup, grants)
            elif self.trial is not None:
                self.trial(setup)
                yield Checked(what=self.trial_says)
        except MeshError as error:
            yield Checked(what="its target answers", is_ok=False, detail=error.problem, fix=error.fix)

    def open(self, setup: SinkSetup) -> Sink | AnsweringSink:
        """The sink. Raises Misconfigured, for a pulled one too, and what its target raises."""
        if self.build is None:
            fix = f"give the grants of {setup.label} another sink, or let its subscriber read them"
            raise Misconfigured(setup.label, "is read by its subscriber itself: nothing is delivered to it", fix=fix)
        return self.build(setup)


def is_delivered(sink: SinkConfig | None, kinds: Mapping[str, SinkKind]) -> bool:
    """Whether the sink is there and not pulled; one of an unknown kind counts, so that somebody says what is wrong with it."""
    if sink is None:
        return False
    kind = kinds.get(sink.kind)
    return kind is None or not kind.is_pulled


def is_read_itself(sink: SinkConfig | None, kinds: Mapping[str, SinkKind]) -> bool:
    """Whether its subscriber reads the sink's topics by logins of its own, and confirms by its group."""
    kind = kinds.get(sink.kind) if sink is not None else None
    return kind is not None and kind.confirms_by_group


def is_confirmed(sink: SinkConfig | None, kinds: Mapping[str, SinkKind]) -> bool:
    """Whether somebody confirms what comes through the sink, and the ends of grants: delivery, or its subscriber's own group."""
    return is_delivered(sink, kinds) or is_read_itself(sink, kinds)
