"""A link to a server that stops carrying what the server says, on demand: it stays connected, as a slow one does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class SlowLink:
    """Connect to `address` instead of the server's own. `hold_after` stops the answers of the connection that says most."""

    def __init__(self, address: str) -> None:
        self._server = urlsplit(address)
        self._listener = socket.create_server(("127.0.0.1", 0))
        at = f"{address.split('@', maxsplit=1)[0].split('//')[1]}@127.0.0.1:{self._listener.getsockname()[1]}"
        self.address = self._server._replace(netloc=at).geturl()
        self._left: int | None = None
        self._flows = threading.Event()
        self._flows.set()
        self._text: bytes | None = None
        self._held: list[threading.Event] = []

    def hold_after(self, size_bytes: int) -> None:
        """Carry so many bytes of what the server says next, then no more on the connection that used them up until `resume`."""
        self._left = size_bytes

    def hold_where(self, text: bytes) -> None:
        """Carry no answer on a connection over which this is said to the server, until `resume`."""
        self._text = text

    @property
    def is_holding(self) -> bool:
        """Whether there is such a connection."""
        return bool(self._held)

    @property
    def is_held(self) -> bool:
        """Whether the bytes are used up."""
        return not self._flows.is_set()

    def resume(self) -> None:
        """Carry everything again."""
        self._left = self._text = None
        self._flows.set()
        while self._held:
            self._held.pop().set()

    def serve(self) -> None:
        """Accept connections until `close`."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((self._server.hostname, self._server.port))
                answers = threading.Event()
                answers.set()
                for one, other, is_answer in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._carry, args=(one, other, is_answer, answers), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, is_answer: bool, answers: threading.Event) -> None:
        with suppress(OSError), one, other:
            while data := one.recv(4096):
                if is_answer:
                    answers.wait()
                elif self._text is not None and self._text in data:
                    answers.clear()
                    self._held.append(answers)
                if is_answer and self._left is not None and self._flows.is_set():
                    self._left -= len(data)
                    if self._left <= 0:
                        self._flows.clear()
                        self._flows.wait()
                other.sendall(data)

    def close(self) -> None:
        """Accept no more."""
        self.resume()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def slow_link(address: str) -> Iterator[SlowLink]:
    """Such a link, serving."""
    link = SlowLink(address)
    thread = threading.Thread(target=link.serve, daemon=True)
    thread.start()
    try:
        yield link
    finally:
        link.close()
        thread.join(10)
