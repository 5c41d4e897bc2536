"""Server place: drops in a directory of an SFTP server.

A file is written under a name that nobody can guess, synced where the server knows how, and gets its own name by
posix-rename@openssh.com, which replaces what was there at once. So readers have all of it or nothing of it, and a killed process
leaves a draft at most.
"""

from __future__ import annotations

import asyncio
import posixpath
import secrets
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

import asyncssh

from schemas.errors import ContractBroken, Misconfigured
from sinks.drops.folder import DRAFT
from sinks.drops.place import Fill, Parcel, parcel
from sinks.drops.sftp.address import SftpAddress, address_of
from sinks.drops.sftp.connection import ANSWER_SECONDS, SftpConnection
from sinks.drops.sftp.fault import no_room
from sinks.drops.sftp.options import PASSWORD, PRIVATE_KEY, SftpOptions
from sinks.sink import SinkSetup

_PIECE = 1 << 20
_T = TypeVar("_T")


class ServerPlace:
    """Raises what sinks/drops/sftp/fault.py says, and ContractBroken for a file that is not as it was sent."""

    def __init__(self, address: SftpAddress, host_key: str, *, password: str = "", private_key: str = "") -> None:
        self._address = address
        self._connection = SftpConnection(address, host_key, password=password, private_key=private_key)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def write(self, folder: str, name: str, fill: Fill) -> tuple[int, str]:
        """Write a file whole or not at all; returns its bytes and their SHA-256 once the server has it under its name."""
        subject = f"drop {self.shown(folder, name)}"
        with parcel(fill, subject) as whole:

            async def act(sftp: asyncssh.SFTPClient) -> None:
                at = await self._folder(sftp, folder)
                draft = posixpath.join(at, f".{name}.{secrets.token_hex(8)}{DRAFT}")
                try:
                    await _send(sftp, draft, whole, subject)
                    await _in_time(sftp.posix_rename(draft, posixpath.join(at, name)))
                except BaseException:
                    with suppress(OSError, asyncssh.Error):  # half a file takes the room that the next try needs
                        await _in_time(sftp.remove(draft))
                    raise

            self._connection.do(subject, act)
            return whole.size, whole.sha256

    def read(self, folder: str, name: str) -> bytes | None:
        """The content of a file; None if there is none."""

        async def act(sftp: asyncssh.SFTPClient) -> bytes | None:
            path = posixpath.join(self._address.directory, folder, name)
            try:
                async with sftp.open(path, "rb") as file:
                    return await _in_time(file.read())
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                await self._folder(sftp, folder)  # the directory itself has to be there
                return None

        return self._connection.do(f"drop {self.shown(folder, name)}", act)

    def names(self, folder: str, begin: str, after: str = "") -> list[str]:
        """The files of a folder whose names begin so and sort behind `after`, sorted."""

        async def act(sftp: asyncssh.SFTPClient) -> list[str]:
            found = await _in_time(sftp.listdir(await self._folder(sftp, folder)))
            return sorted(name for name in map(str, found) if name.startswith(begin) and name > after)

        return self._connection.do(f"drop {self.shown(folder, '')}", act)

    def sweep(self, folder: str, stem: str) -> None:
        """Remove what was being written under names that begin so, when a process ended."""
        left = [name for name in self.names(folder, f".{stem}.") if name.endswith(DRAFT)]

        async def act(sftp: asyncssh.SFTPClient) -> None:
            for name in left:
                with suppress(asyncssh.SFTPError):
                    await _in_time(sftp.remove(posixpath.join(self._address.directory, folder, name)))

        if left:
            self._connection.do(f"drop {self.shown(folder, '')}", act)

    def shown(self, folder: str, name: str) -> str:
        """Where a person finds a file."""
        return f"{self._address}/{folder}/{name}".rstrip("/")

    async def _folder(self, sftp: asyncssh.SFTPClient, folder: str) -> str:
        """The folder, made if it is not there; the directory itself is its owner's to make."""
        path = posixpath.join(self._address.directory, folder)
        if not await _in_time(sftp.isdir(path)):
            await _in_time(sftp.stat(self._address.directory))
            try:
                await _in_time(sftp.mkdir(path))
            except asyncssh.SFTPError:
                if not await _in_time(sftp.isdir(path)):
                    raise
        return path


def open_server(setup: SinkSetup) -> ServerPlace:
    """The place of a sink's drop. Raises Misconfigured; nothing is asked yet."""
    options = setup.options(SftpOptions)
    password, private_key = (_secret(setup, name) for name in (PASSWORD, PRIVATE_KEY))
    if not password and not private_key:
        fix = "add `private_key: ${VARIABLE}` or `password: ${VARIABLE}` beside its connection, and onboard again"
        raise Misconfigured(setup.label, "has neither a private key nor a password", fix=fix)
    return ServerPlace(address_of(setup, options), options.host_key, password=password, private_key=private_key)


def _secret(setup: SinkSetup, name: str) -> str:
    try:
        return setup.secret("", f"{setup.sink.name}.{name}")
    except Misconfigured:
        return ""


async def _send(sftp: asyncssh.SFTPClient, path: str, whole: Parcel, subject: str) -> None:
    """Send a file and be sure that all of it is there: a server may take bytes that it has no room for."""
    try:
        async with sftp.open(path, "xb") as file:
            whole.file.seek(0)
            while piece := whole.file.read(_PIECE):
                await _in_time(file.write(piece))
            with suppress(asyncssh.SFTPOpUnsupported):  # beyond that, its word has to do
                await _in_time(file.fsync())
        there = (await _in_time(sftp.stat(path))).size
    except asyncssh.SFTPFailure:
        # Version 3, which most servers speak, has no code of its own for a full disk.
        if await _is_full(sftp, posixpath.dirname(path), whole.size):
            raise no_room(subject) from None
        raise
    if there != whole.size:
        fix = "see in the server's log why, and let nobody else write in its directory"
        raise ContractBroken(subject, f"{there} of {whole.size} bytes arrived", fix=fix)


async def _is_full(sftp: asyncssh.SFTPClient, path: str, size: int) -> bool:
    with suppress(asyncssh.SFTPError):
        free = await _in_time(sftp.statvfs(path))
        return free.bavail * free.frsize < size
    return False


async def _in_time(answer: Awaitable[_T]) -> _T:
    async with asyncio.timeout(ANSWER_SECONDS):
        return await answer
