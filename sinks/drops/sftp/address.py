"""Address of a drop on an SFTP server: `sftp://user@host:port/directory`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from schemas.errors import Misconfigured
from sinks.drops.sftp.options import SftpOptions
from sinks.sink import SinkSetup

_FORM = "sftp://user@host:port/directory"
_PORT = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpAddress:
    """Where a drop goes. `directory` is absolute as the server counts, and without a slash at its end."""

    user: str
    host: str
    port: int
    directory: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sftp://{host}:{self.port}{self.directory}"


def sftp_address(text: str, setting: str) -> SftpAddress:
    """Read an address. Raises Misconfigured; the text is quoted nowhere, since it may hold a password."""

    def wrong(problem: str, fix: str = f"write {_FORM}") -> Misconfigured:
        return Misconfigured(setting, problem, fix=fix)

    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong("cannot be read as an address") from None
    if parts.scheme != "sftp" or not host or port == 0:
        raise wrong("is no address of an SFTP server")
    if parts.password is not None:
        raise wrong("contains a password", "give it as `password:` or, better, a `private_key:` beside the connection")
    if not parts.username:
        raise wrong("names no user")
    if parts.query or parts.fragment:
        raise wrong("has something behind its directory")
    directory = unquote(parts.path).rstrip("/")
    if not directory or any(part in {"", ".", ".."} for part in directory.split("/")[1:]):
        raise wrong("names no directory, or one with an empty part, '.' or '..'")
    return SftpAddress(user=unquote(parts.username), host=host, port=port or _PORT, directory=directory)


def address_of(setup: SinkSetup, options: SftpOptions) -> SftpAddress:
    """The address of a sink. Raises Misconfigured."""
    return sftp_address(setup.secret(options.address, setup.sink.name), f"{setup.label}, connection")
