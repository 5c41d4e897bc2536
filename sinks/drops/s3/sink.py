"""What a sink of kind `s3` is built from, and what onboarding tries of it."""

from __future__ import annotations

from contextlib import closing

from sinks.drops.place import try_place
from sinks.drops.s3.address import address_of
from sinks.drops.s3.options import ACCESS_KEY, SECRET_KEY, S3Options
from sinks.drops.s3.place import BucketPlace
from sinks.drops.sink import DropSink, drop_sink
from sinks.sink import SinkSetup


def open_s3(setup: SinkSetup) -> BucketPlace:
    """The place of the drop. Raises Misconfigured; nothing is asked yet."""
    options = setup.options(S3Options)
    return BucketPlace(
        address_of(setup, options),
        setup.secret("", f"{setup.sink.name}.{ACCESS_KEY}"),
        setup.secret("", f"{setup.sink.name}.{SECRET_KEY}"),
        addressing=options.addressing,
        tls_ca=options.tls_ca,
    )


def build_s3(setup: SinkSetup) -> DropSink:
    """The sink of kind `s3`."""
    return drop_sink(setup, setup.options(S3Options), open_s3(setup))


def try_s3(setup: SinkSetup) -> None:
    """Write, read and list at the place of the drop. Raises Misconfigured and Transient."""
    with closing(open_s3(setup)) as place:
        try_place(place)
