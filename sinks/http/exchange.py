"""Exchange: one HTTP request and its answer under one deadline, however slowly either of them trickles.

A timeout per read is none at all for a receiver that sends a byte a second, or one `100 Continue` after the other. Here every
read, write, connect and handshake gets what is left of the whole exchange's time.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpcore

from schemas.errors import Transient
from sinks.http.target import Target

ANSWER_BYTES_MAX = 64 * 1024
ANSWER_WITHIN_SECONDS = 1.0
"""For the body of an answer, which nobody reads: only so that the connection can be used again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What came back."""

    status: int
    retry_after: str | None


class _Deadline(threading.local):
    """When the exchange of this thread must be over; nothing begins once all are broken off."""

    def __init__(self, is_over: threading.Event) -> None:
        self.at = 0.0
        self._is_over = is_over

    def left(self, error: type[Exception]) -> float:
        left = self.at - time.monotonic()
        if left <= 0 or self._is_over.is_set():
            raise error("the exchange took too long")
        return left


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline, streams: set[_Stream]) -> None:
        self._inner = inner
        self._deadline = deadline
        self._streams = streams
        streams.add(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 -- httpcore's own name
        return self._inner.read(max_bytes, self._deadline.left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        # One send at a time: httpcore's own loop gives each of them the whole time anew.
        view = memoryview(buffer)
        while view:
            self._socket.settimeout(self._deadline.left(httpcore.WriteTimeout))
            try:
                view = view[self._socket.send(view) :]
            except TimeoutError as error:
                raise httpcore.WriteTimeout(str(error)) from error
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._streams.discard(self)
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        _ = timeout
        left = self._deadline.left(httpcore.ConnectTimeout)
        inner = self._inner.start_tls(ssl_context, server_hostname, left)
        self._streams.discard(self)
        return _Stream(inner, self._deadline, self._streams)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def break_off(self) -> None:
        """End whatever a thread is waiting for on this connection."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    @property
    def _socket(self) -> socket.socket:
        return self._inner.get_extra_info("socket")


class _Backend(httpcore.NetworkBackend):
    def __init__(self, deadline: _Deadline, streams: set[_Stream]) -> None:
        self._inner = httpcore.SyncBackend()
        self._deadline = deadline
        self._streams = streams

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        _ = timeout
        left = self._deadline.left(httpcore.ConnectTimeout)
        stream = self._inner.connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(stream, self._deadline, self._streams)


class Exchanges:
    """Connections to receivers, used again where they allow it. Any thread may call `post`.

    No proxy and no redirect: the request goes to the address that was checked.
    """

    def __init__(self, *, connections_max: int, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._is_over = threading.Event()
        self._deadline = _Deadline(self._is_over)
        self._streams: set[_Stream] = set()
        self._pool = httpcore.ConnectionPool(
            max_connections=connections_max,
            max_keepalive_connections=connections_max,
            keepalive_expiry=5.0,
            network_backend=_Backend(self._deadline, self._streams),
        )

    def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """The answer to one request. Raises Transient when there is none in time."""
        self._deadline.at = time.monotonic() + self._timeout_seconds
        request = httpcore.Request(
            "POST",
            target.url,
            headers=[*_encoded(headers), (b"Content-Length", str(len(body)).encode())],
            content=body,
            extensions={"timeout": {"pool": self._timeout_seconds}, "sni_hostname": target.host},
        )
        try:
            response = self._pool.handle_request(request)
        except httpcore.TimeoutException as error:
            raise Transient(
                f"webhook {target.host} did not answer within {self._timeout_seconds:g} s",
                fix="see whether it can be reached, or give it more time with `timeout_seconds`",
            ) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise Transient(
                f"webhook {target.host} does not answer ({type(error).__name__})", fix="see whether it can be reached"
            ) from error
        after = next((value for name, value in response.headers if name.lower() == b"retry-after"), None)
        self._drain(response)
        return HttpAnswer(status=response.status, retry_after=after.decode("latin-1") if after else None)

    def close(self) -> None:
        """Break off what is under way and close the connections."""
        self._is_over.set()
        for stream in list(self._streams):
            stream.break_off()
        self._pool.close()

    def _drain(self, response: httpcore.Response) -> None:
        """Read a small answer, so that the connection can be used again; leave a long or dripping one."""
        self._deadline.at = min(self._deadline.at, time.monotonic() + ANSWER_WITHIN_SECONDS)
        size = 0
        # The status says it all: whatever happens to the body, the change was taken or not.
        with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError):
            for part in response.iter_stream():
                size += len(part)
                if size > ANSWER_BYTES_MAX:
                    break
        with suppress(httpcore.NetworkError, OSError):
            response.close()


def _encoded(headers: Mapping[str, str]) -> Sequence[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
