"""Pooler: a TCP proxy before PostgreSQL that pools by transaction, as PgBouncer does: the next transaction has another connection."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

from psycopg import pq

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
CONNECTIONS = 3


class _Ended(Exception):
    """The other side has closed."""


class _Peer:
    """One side of a connection, read message by message."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""

    def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._read()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def startup(self) -> bytes:
        return self.exactly(struct.unpack(">i", self.exactly(4))[0] - 4)

    def messages(self) -> list[bytes]:
        """What is here, after waiting for something."""
        self._read()
        found: list[bytes] = []
        while len(self._buffer) >= 5 and len(self._buffer) > (length := struct.unpack(">i", self._buffer[1:5])[0]):
            found.append(self._buffer[: length + 1])
            self._buffer = self._buffer[length + 1 :]
        return found

    def _read(self) -> None:
        data = self.sock.recv(65_536)
        if not data:
            raise _Ended
        self._buffer += data


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">i", len(body) + 4) + body


class Pooler:
    """`is_strict` refuses the startup parameter `options`; otherwise it is ignored. `transactions` counts them by connection."""

    def __init__(self, dsn: str, *, is_strict: bool) -> None:
        parts = urlsplit(dsn)
        self._dsn = dsn
        self._is_strict = is_strict
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.dsn = parts._replace(netloc=f"{parts.username}@127.0.0.1:{self._listener.getsockname()[1]}").geturl()
        self.transactions = [0] * CONNECTIONS
        self.refused = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(_Ended, OSError), ExitStack() as open_sockets:
            open_sockets.enter_context(sock)
            client = _Peer(sock)
            while True:
                startup = client.startup()
                if struct.unpack(">i", startup[:4])[0] not in {SSL_REQUEST, GSS_REQUEST}:
                    break
                sock.sendall(b"N")
            words = startup[4:].split(b"\0")
            params = dict(zip(words[::2], words[1::2], strict=False))
            if self._is_strict and b"options" in params:
                self.refused += 1
                sock.sendall(_message(b"E", b"SERROR\0VERROR\0C08P01\0Munsupported startup parameter: options\0\0"))
                return
            servers = [self._connect(open_sockets) for _ in range(CONNECTIONS)]
            sock.sendall(servers[0][1])
            self._relay(client, [server for server, _ in servers])

    def _connect(self, open_sockets: ExitStack) -> tuple[_Peer, bytes]:
        """A connection to the server, logged in by libpq, and what a client is told of it."""
        wire = pq.PGconn.connect(f"{self._dsn}?sslmode=disable&gssencmode=disable".encode())
        assert wire.status == pq.ConnStatus.OK, wire.error_message
        open_sockets.callback(wire.finish)
        told = [_message(b"R", struct.pack(">i", 0))]
        for name in (b"server_version", b"client_encoding", b"standard_conforming_strings", b"integer_datetimes"):
            told.append(_message(b"S", name + b"\0" + (wire.parameter_status(name) or b"") + b"\0"))
        told += [_message(b"K", struct.pack(">ii", 1, 1)), _message(b"Z", b"I")]
        return _Peer(open_sockets.enter_context(socket.socket(fileno=os.dup(wire.socket)))), b"".join(told)

    def _relay(self, client: _Peer, servers: list[_Peer]) -> None:
        number, outstanding, is_free = 0, 0, True
        while True:
            ready, _, _ = select.select([client.sock, servers[number].sock], [], [])
            if servers[number].sock in ready:
                for message in servers[number].messages():
                    client.sock.sendall(message)
                    if message[:1] == b"Z":
                        outstanding -= 1
                        is_free = outstanding == 0 and message[5:6] == b"I"
            if client.sock in ready:
                for message in client.messages():
                    if message[:1] == b"X":
                        return
                    if is_free:
                        number, is_free = (number + 1) % len(servers), False
                        self.transactions[number] += 1
                    outstanding += message[:1] in {b"Q", b"S"}
                    servers[number].sock.sendall(message)


@contextmanager
def pooler(dsn: str, *, is_strict: bool) -> Iterator[Pooler]:
    """A pooler before the database of this address."""
    running = Pooler(dsn, is_strict=is_strict)
    try:
        yield running
    finally:
        running.close()
