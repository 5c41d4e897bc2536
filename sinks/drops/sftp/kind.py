"""Drops as a kind of sink: files in a directory of an SFTP server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.agreement.grant import Grant
from sinks.copy import Copy
from sinks.drops.sftp.address import address_of, sftp_address
from sinks.drops.sftp.options import PASSWORD, PRIVATE_KEY, SftpOptions
from sinks.kind import Destination, Secret, SinkKind
from sinks.sink import Pace, Sink, SinkSetup


def _build(setup: SinkSetup) -> Sink:
    from sinks.drops.sftp.sink import build_sftp

    return build_sftp(setup)


def _try(setup: SinkSetup) -> None:
    from sinks.drops.sftp.sink import try_sftp

    try_sftp(setup)


def _pace(setup: SinkSetup) -> Pace:
    from sinks.drops.sink import drop_pace

    return drop_pace(setup.options(SftpOptions))


def _places(setup: SinkSetup, _grants: Sequence[Grant]) -> Iterable[Destination]:
    at = address_of(setup, setup.options(SftpOptions))
    yield Destination(what="its directory", where=("server", at.host, str(at.port), at.user, at.directory))


def _copy(setup: SinkSetup, _grant: Grant, _kept: Path | None) -> Copy:
    from sinks.drops.place_copy import PlaceCopy
    from sinks.drops.sftp.sink import open_sftp

    return PlaceCopy(open=lambda: open_sftp(setup), options=setup.options(SftpOptions))


def _check_address(address: str) -> None:
    sftp_address(address, "connection")


_SECRETS = (
    Secret(name=PRIVATE_KEY, what="private key"),
    Secret(name=PASSWORD, what="password", variable="PASSWORD"),
)

SFTP = SinkKind(
    build=_build,
    options=SftpOptions,
    secrets=_SECRETS,
    check_address=_check_address,
    trial=_try,
    places=_places,
    copy=_copy,
    pace=_pace,
)
