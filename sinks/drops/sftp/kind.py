"""Drops as a kind of sink: files in a directory of an SFTP server."""

from __future__ import annotations

from sinks.drops.elsewhere import drop_elsewhere
from sinks.drops.place import DropPlace
from sinks.drops.sftp.address import address_of, sftp_address
from sinks.drops.sftp.options import PASSWORD, PRIVATE_KEY, SftpOptions
from sinks.kind import Destination, Secret
from sinks.sink import SinkSetup


def _open(setup: SinkSetup) -> DropPlace:
    from sinks.drops.sftp.place import open_server

    return open_server(setup)


def _destination(setup: SinkSetup) -> Destination:
    at = address_of(setup, setup.options(SftpOptions))
    return Destination(what="its directory", where=("server", at.host, str(at.port), at.user, at.directory))


def _check_address(address: str) -> None:
    sftp_address(address, "connection")


SFTP = drop_elsewhere(
    options=SftpOptions,
    open_place=_open,
    destination=_destination,
    check_address=_check_address,
    secrets=(
        Secret(name=PRIVATE_KEY, what="private key"),
        Secret(name=PASSWORD, what="password", variable="PASSWORD"),
    ),
)
