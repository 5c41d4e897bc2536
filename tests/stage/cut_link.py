"""A link to a server that can be cut, or made slow: connections break off, and new ones are refused until it is mended."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PIECE_BYTES = 1 << 16


class CutLink:
    """Connect to `port` instead of the server's own. `cut_after` cuts once so many bytes more went to the server.

    `server_port` may be set later; `delay_seconds` is how long each piece is held back, in both directions. While it `is_mute`, what
    the server says is lost. The server may be away.
    """

    def __init__(self, server_port: int = 0) -> None:
        self.server_port = server_port
        self.delay_seconds = 0.0
        self.is_mute = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._left: int | None = None
        self._is_cut = False
        self._lock = threading.Lock()
        self._open: dict[int, tuple[socket.socket, socket.socket]] = {}
        self._threads: list[threading.Thread] = []

    def cut(self) -> None:
        self._is_cut = True
        with self._lock:
            for ends in self._open.values():
                _shut(*ends)

    def cut_after(self, size_bytes: int) -> None:
        self._left = size_bytes

    @property
    def is_cut(self) -> bool:
        return self._is_cut

    def mend(self) -> None:
        self._left, self._is_cut, self.delay_seconds, self.is_mute = None, False, 0.0, False

    def serve(self) -> None:
        with suppress(OSError):
            for number in range(1 << 62):
                one, _ = self._listener.accept()
                thread = threading.Thread(target=self._connect, args=(number, one))
                self._threads = [each for each in self._threads if each.is_alive()] + [thread]
                thread.start()

    def _connect(self, number: int, one: socket.socket) -> None:
        """Carry both directions of one connection; close it once both have ended."""
        with one, suppress(OSError), socket.create_connection(("127.0.0.1", self.server_port), 10) as other:
            other.settimeout(None)
            for end in (one, other):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self._is_cut:
                    return
                self._open[number] = one, other
            back = threading.Thread(target=self._carry, args=(other, one, False))
            back.start()
            self._carry(one, other, True)
            back.join()
            with self._lock:
                del self._open[number]

    def _carry(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE_BYTES):
                if counts and self._left is not None:
                    self._left -= len(piece)
                    if self._left < 0:
                        self.cut()
                        break
                if self.is_mute and not counts:
                    continue
                if self.delay_seconds:
                    time.sleep(self.delay_seconds)
                target.sendall(piece)
        _shut(source, target)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(15)


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def cut_link(server_port: int = 0) -> Iterator[CutLink]:
    link = CutLink(server_port)
    thread = threading.Thread(target=link.serve, daemon=True)
    thread.start()
    try:
        yield link
    finally:
        link.close()
        thread.join(10)
