"""SFTP connection: one login, opened when first needed and again after it was lost; each call waits, but not for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import asyncssh

from schemas.errors import MeshError, Misconfigured
from sinks.drops.sftp.address import SftpAddress
from sinks.drops.sftp.fault import translate

CONNECT_SECONDS = 10.0
LOGIN_SECONDS = 20.0
ANSWER_SECONDS = 60.0
_ALIVE_SECONDS = 15.0
_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)

_Answer = TypeVar("_Answer")
Act = Callable[[asyncssh.SFTPClient], Awaitable[_Answer]]


class SftpConnection:
    """Used by one thread, in which its event loop runs while a call lasts. Raises what sinks/drops/sftp/fault.py says.

    Only the host keys given are taken, and only this login: nothing of this user's own SSH configuration, keys or agent.
    """

    def __init__(self, address: SftpAddress, host_key: str, *, password: str = "", private_key: str = "") -> None:
        self._address = address
        logging.getLogger("asyncssh").setLevel(logging.WARNING)
        self._host_keys = [_imported(line, address) for line in host_key.splitlines()]
        self._password = password or None
        self._keys = [_private(private_key, address)] if private_key else None
        self._runner = asyncio.Runner()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None

    def do(self, subject: str, act: Act[_Answer]) -> _Answer:
        """Carry out `act`. What fails costs the connection, unless the server itself says so."""
        return self._runner.run(self._do(subject, act))

    def close(self) -> None:
        """Let go of the connection."""
        with suppress(OSError, asyncssh.Error, RuntimeError):
            self._runner.run(self._leave())
        self._runner.close()

    async def _do(self, subject: str, act: Act[_Answer]) -> _Answer:
        try:
            return await act(await self._sftp())
        except MeshError:
            raise
        except asyncssh.SFTPError as error:
            if isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection | asyncssh.SFTPBadMessage):
                await self._leave()
            raise translate(error, subject, self._address) from None
        except (OSError, asyncssh.Error, TimeoutError) as error:
            await self._leave()
            raise translate(error, subject, self._address) from None
        except BaseException:
            await self._leave()
            raise

    async def _sftp(self) -> asyncssh.SFTPClient:
        if self._client is None or self._connection is None or self._connection.is_closed():
            await self._leave()
            async with asyncio.timeout(CONNECT_SECONDS + LOGIN_SECONDS):
                self._connection = await asyncssh.connect(
                    self._address.host,
                    self._address.port,
                    username=self._address.user,
                    password=self._password,
                    client_keys=self._keys,
                    known_hosts=(self._host_keys, [], []),
                    server_host_key_algs=_preferred(self._host_keys),
                    config=None,
                    agent_path=None,
                    gss_host=None,
                    connect_timeout=CONNECT_SECONDS,
                    login_timeout=LOGIN_SECONDS,
                    keepalive_interval=_ALIVE_SECONDS,
                )
                self._client = await self._connection.start_sftp_client()
        return self._client

    async def _leave(self) -> None:
        """Not `wait_closed`: a server that is gone says nothing."""
        client, self._client = self._client, None
        connection, self._connection = self._connection, None
        if client is not None:
            client.exit()
        if connection is not None:
            connection.abort()


def _imported(line: str, address: SftpAddress) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(line.strip())
    except asyncssh.KeyImportError:
        fix = f"write what `ssh-keyscan -p {address.port} {address.host}` prints behind the host's name"
        raise Misconfigured(f"drop {address}, host_key", "is no public key that can be read", fix=fix) from None


def _preferred(host_keys: Sequence[asyncssh.SSHKey]) -> list[str]:
    """The kinds of the keys that we know, before all others: who has no key of such a kind shows that he is another."""
    known = {key.get_algorithm().replace("ssh-rsa", "rsa-") for key in host_keys}
    return sorted(_ALGORITHMS, key=lambda name: not name.startswith(tuple(known)))


def _private(text: str, address: SftpAddress) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(text if text.endswith("\n") else f"{text}\n")
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
        fix = "give an OpenSSH or PEM key without a passphrase, which `ssh-keygen -p -f FILE` takes off, with its line breaks"
        raise Misconfigured(f"drop {address}, private_key", "is no private key that can be read", fix=fix) from None
