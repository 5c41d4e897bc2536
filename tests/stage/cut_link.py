"""A link to a server that can be cut: connections break off, and new ones are refused until it is mended."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CutLink:
    """Connect to `port` instead of the server's own. `cut_after` cuts once so many bytes more went to the server."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._left: int | None = None
        self._is_cut = False
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def cut(self) -> None:
        self._is_cut = True
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut_after(self, size_bytes: int) -> None:
        self._left = size_bytes

    @property
    def is_cut(self) -> bool:
        return self._is_cut

    def mend(self) -> None:
        self._left, self._is_cut = None, False

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self._listener.accept()
                if self._is_cut:
                    one.close()
                    continue
                other = socket.create_connection(("127.0.0.1", self._server_port))
                self._open += [one, other]
                for source, target, counts in ((one, other, True), (other, one, False)):
                    self._threads.append(threading.Thread(target=self._carry, args=(source, target, counts)))
                    self._threads[-1].start()

    def _carry(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 14):
                if counts and self._left is not None:
                    self._left -= len(piece)
                    if self._left < 0:
                        self.cut()
                        break
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for end in self._open:
            end.close()


@contextmanager
def cut_link(server_port: int) -> Iterator[CutLink]:
    link = CutLink(server_port)
    thread = threading.Thread(target=link.serve, daemon=True)
    thread.start()
    try:
        yield link
    finally:
        link.close()
        thread.join(10)
