"""Drops as a kind of sink: files in a bucket of an S3-compatible object store."""

from __future__ import annotations

from sinks.drops.elsewhere import drop_elsewhere
from sinks.drops.place import DropPlace
from sinks.drops.s3.address import address_of, s3_address
from sinks.drops.s3.options import ACCESS_KEY, SECRET_KEY, S3Options
from sinks.kind import Destination, Secret
from sinks.sink import SinkSetup


def _open(setup: SinkSetup) -> DropPlace:
    from sinks.drops.s3.place import open_bucket

    return open_bucket(setup)


def _destination(setup: SinkSetup) -> Destination:
    at = address_of(setup, setup.options(S3Options))
    return Destination(what="its prefix", where=("bucket", at.endpoint or at.region, at.bucket, at.prefix))


def _check_address(address: str) -> None:
    s3_address(address, "connection", allow_http=True)  # whether it may, the options say


S3 = drop_elsewhere(
    options=S3Options,
    open_place=_open,
    destination=_destination,
    check_address=_check_address,
    secrets=(
        Secret(name=ACCESS_KEY, what="access key", needed_because="so its store would let nobody in"),
        Secret(
            name=SECRET_KEY, what="secret key", needed_because="so its store would let nobody in", variable="SECRET"
        ),
    ),
)
