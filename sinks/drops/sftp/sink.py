"""What a sink of kind `sftp` is built from, and what onboarding tries of it."""

from __future__ import annotations

from contextlib import closing

from schemas.errors import Misconfigured
from sinks.drops.place import try_place
from sinks.drops.sftp.address import address_of
from sinks.drops.sftp.options import PASSWORD, PRIVATE_KEY, SftpOptions
from sinks.drops.sftp.place import ServerPlace
from sinks.drops.sink import DropSink, drop_sink
from sinks.sink import SinkSetup


def open_sftp(setup: SinkSetup) -> ServerPlace:
    """The place of the drop. Raises Misconfigured; nothing is asked yet."""
    options = setup.options(SftpOptions)
    password, private_key = (_secret(setup, name) for name in (PASSWORD, PRIVATE_KEY))
    if not password and not private_key:
        fix = "add `private_key: ${VARIABLE}` or `password: ${VARIABLE}` beside its connection, and onboard again"
        raise Misconfigured(setup.label, "has neither a private key nor a password", fix=fix)
    address = address_of(setup, options)
    return ServerPlace(address, options.host_key, password=password, private_key=private_key)


def _secret(setup: SinkSetup, name: str) -> str:
    try:
        return setup.secret("", f"{setup.sink.name}.{name}")
    except Misconfigured:
        return ""


def build_sftp(setup: SinkSetup) -> DropSink:
    """The sink of kind `sftp`."""
    return drop_sink(setup, setup.options(SftpOptions), open_sftp(setup))


def try_sftp(setup: SinkSetup) -> None:
    """Write, read and list at the place of the drop. Raises Misconfigured and Transient."""
    with closing(open_sftp(setup)) as place:
        try_place(place)
