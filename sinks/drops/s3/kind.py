"""Drops as a kind of sink: files in a bucket of an S3-compatible object store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.agreement.grant import Grant
from sinks.copy import Copy
from sinks.drops.s3.address import address_of, s3_address
from sinks.drops.s3.options import ACCESS_KEY, SECRET_KEY, S3Options
from sinks.kind import Destination, Secret, SinkKind
from sinks.sink import Pace, Sink, SinkSetup


def _build(setup: SinkSetup) -> Sink:
    from sinks.drops.s3.sink import build_s3

    return build_s3(setup)


def _try(setup: SinkSetup) -> None:
    from sinks.drops.s3.sink import try_s3

    try_s3(setup)


def _pace(setup: SinkSetup) -> Pace:
    from sinks.drops.sink import drop_pace

    return drop_pace(setup.options(S3Options))


def _places(setup: SinkSetup, _grants: Sequence[Grant]) -> Iterable[Destination]:
    at = address_of(setup, setup.options(S3Options))
    yield Destination(what="its prefix", where=("bucket", at.endpoint or at.region, at.bucket, at.prefix))


def _copy(setup: SinkSetup, _grant: Grant, _kept: Path | None) -> Copy:
    from sinks.drops.place_copy import PlaceCopy
    from sinks.drops.s3.sink import open_s3

    return PlaceCopy(open=lambda: open_s3(setup), options=setup.options(S3Options))


def _check_address(address: str) -> None:
    s3_address(address, "connection", allow_http=True)  # whether it may, the options say


_SECRETS = (
    Secret(name=ACCESS_KEY, what="access key", needed_because="so its store would let nobody in"),
    Secret(name=SECRET_KEY, what="secret key", needed_because="so its store would let nobody in", variable="SECRET"),
)

S3 = SinkKind(
    build=_build,
    options=S3Options,
    secrets=_SECRETS,
    check_address=_check_address,
    trial=_try,
    places=_places,
    copy=_copy,
    pace=_pace,
)
