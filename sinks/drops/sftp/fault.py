"""Faults: what goes wrong with an SFTP server, and what it means for the lane. The server's own text stays out.

| what                                                    | means                     | becomes       |
|---------------------------------------------------------|---------------------------|---------------|
| the login is refused                                     | the credentials           | Misconfigured |
| another host key, or no way of encrypting that both know | the server is another     | Misconfigured |
| no such directory                                        | the address               | Misconfigured |
| permission denied, or a read-only file system            | the rights of the account | Misconfigured |
| no posix-rename@openssh.com                              | the server is too simple  | Misconfigured |
| no space, a used-up quota, or a failure where none is left | the server has no room  | Transient     |
| no answer, a lost connection, any other failure          | the server or the network | Transient     |
"""

from __future__ import annotations

import asyncssh

from schemas.errors import MeshError, Misconfigured, Transient
from sinks.drops.sftp.address import SftpAddress

_DENIED = ("permission denied", "access denied", "read-only")
_FULL = ("no space", "quota", "disk full")
_ROOM_FIX = "make room: it goes on by itself"


def no_room(subject: str) -> Transient:
    """The server has none."""
    return Transient(f"{subject}: the server has no room", fix=_ROOM_FIX)


def translate(error: Exception, subject: str, address: SftpAddress) -> MeshError:  # noqa: PLR0911 -- a line per row of the table
    """The error for what asyncssh or the network raised."""
    match error:
        case asyncssh.PermissionDenied():
            fix = "correct the user of the connection and the sink's `password` or `private_key`, and onboard again"
            return Misconfigured(subject, "the server refuses the login", fix=fix)
        case asyncssh.HostKeyNotVerifiable() | asyncssh.KeyExchangeFailed():
            fix = (
                f"ask its operator whether its key was changed; if so, compare with him what `ssh-keyscan -p {address.port} "
                f"{address.host}` prints, correct the option `host_key`, and onboard again"
            )
            return Misconfigured(
                subject, "the server does not have the host key that the option `host_key` says", fix=fix
            )
        case asyncssh.SFTPNoSuchFile() | asyncssh.SFTPNoSuchPath() | asyncssh.SFTPNotADirectory():
            fix = f"make the directory {address.directory} on the server, or correct the connection"
            return Misconfigured(subject, "its directory is not there", fix=fix)
        case asyncssh.SFTPPermissionDenied() | asyncssh.SFTPWriteProtect() | asyncssh.SFTPFailure() if _is_denied(
            error
        ):
            fix = f"let the account make folders, and write and rename files, in {address.directory}"
            return Misconfigured(subject, "the account lacks a right", fix=fix)
        case asyncssh.SFTPNoSpaceOnFilesystem() | asyncssh.SFTPQuotaExceeded() | asyncssh.SFTPFailure() if _is_full(
            error
        ):
            return no_room(subject)
        case asyncssh.SFTPOpUnsupported():
            fix = (
                "use a server with posix-rename@openssh.com, as OpenSSH is: without it a file cannot be replaced whole"
            )
            return Misconfigured(subject, "the server cannot do what a drop needs", fix=fix)
        case asyncssh.SFTPError():
            fix = "see in the server's log why, and whether it has room: it goes on by itself"
            return Transient(f"{subject}: the server fails ({type(error).__name__})", fix=fix)
        case _:
            fix = "see whether the server runs and this host reaches it: it goes on by itself"
            return Transient(f"{subject}: no answer ({type(error).__name__})", fix=fix)


def _is_denied(error: Exception) -> bool:
    """Version 3 has the code, but some servers answer with a bare failure, and say why in words alone."""
    return not isinstance(error, asyncssh.SFTPFailure) or _says(error, _DENIED)


def _is_full(error: Exception) -> bool:
    """Version 3 has no code of its own for it."""
    return not isinstance(error, asyncssh.SFTPFailure) or _says(error, _FULL)


def _says(error: asyncssh.SFTPFailure, words: tuple[str, ...]) -> bool:
    return any(word in str(error.reason).lower() for word in words)
