"""Drops elsewhere than in a directory of this host: a kind of them is its options, its address, and what opens its DropPlace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from schemas.agreement.grant import Grant
from sinks.copy import Copy
from sinks.drops.options import DropOptions
from sinks.drops.place import DropPlace, try_place
from sinks.kind import Destination, Secret, SinkKind
from sinks.sink import BatchingPolicy, Sink, SinkSetup


def drop_elsewhere(
    *,
    options: type[DropOptions],
    open_place: Callable[[SinkSetup], DropPlace],
    destination: Callable[[SinkSetup], Destination],
    check_address: Callable[[str], None],
    secrets: tuple[Secret, ...],
) -> SinkKind:
    """The kind. `open_place` asks nothing yet; it raises Misconfigured."""

    def build(setup: SinkSetup) -> Sink:
        from sinks.drops.sink import drop_sink

        return drop_sink(setup, setup.options(options), open_place(setup))

    def try_once(setup: SinkSetup) -> None:
        with closing(open_place(setup)) as place:
            try_place(place)

    def batching(setup: SinkSetup) -> BatchingPolicy:
        from sinks.drops.sink import drop_batching

        return drop_batching(setup.options(options))

    def places(setup: SinkSetup, _grants: Sequence[Grant]) -> Iterable[Destination]:
        return (destination(setup),)

    def copy(setup: SinkSetup, _grant: Grant, _kept: Path | None) -> Copy:
        from sinks.drops.place_copy import PlaceCopy

        return PlaceCopy(open=lambda: open_place(setup), options=setup.options(options))

    return SinkKind(
        build=build,
        options=options,
        secrets=secrets,
        check_address=check_address,
        trial=try_once,
        places=places,
        copy=copy,
        batching=batching,
    )
