"""A subscriber's webhook endpoint for the example city: checks each signature, appends each body to a file, answers 204.

It stands for the subscriber's own system, so it shares no code with the sink that calls it: the signature is checked as
Standard Webhooks 1.0 describes it. An id that came before is answered the same and not written twice.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BODY_BYTES_MAX = 4 << 20


class Receiver:
    """Listens on a free loopback port until closed. `path` receives one JSON body a line."""

    def __init__(self, path: Path, secret: str) -> None:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        lock = threading.Lock()
        seen: set[str] = set()
        out = path.open("ab")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers.get("content-length", 0))
                if size > BODY_BYTES_MAX:
                    self._answer(413)
                    return
                body = self.rfile.read(size)
                message_id = self.headers.get("webhook-id", "")
                signed = f"{message_id}.{self.headers.get('webhook-timestamp', '')}.".encode() + body
                expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
                given = self.headers.get("webhook-signature", "").split(" ")
                if not any(hmac.compare_digest(expected, signature) for signature in given):
                    self._answer(401)
                    return
                with lock:
                    if message_id not in seen:
                        out.write(body + b"\n")
                        out.flush()
                        seen.add(message_id)
                self._answer(204)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: the demo's terminal belongs to its table."""

        self._out = out
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        self._out.close()
