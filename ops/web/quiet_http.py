"""HTTP of which nothing is logged that was asked, and where every refusal is explained, also of what is no request.

Names in a question may be raw UTF-8, as people type them: their bytes are percent-encoded before the parser, which takes ASCII
only, sees them: where a service takes no bodies. One that does is asked as browsers ask.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from aiohttp import web

LINE_BYTES_MAX = 64 * 1024
Explain = Callable[[int, str, str], web.Response]
"""Makes the answer of a refusal: status, why, what to do."""

_RAW = re.compile(rb"[\x80-\xff]")
_logger = logging.getLogger(__name__)


class Runner(web.AppRunner):
    """Runs an application; `explain` answers what cannot be read as a request."""

    def __init__(self, app: web.Application, explain: Explain, *, takes_bodies: bool = False) -> None:
        super().__init__(app, access_log=None, max_line_size=LINE_BYTES_MAX, max_field_size=LINE_BYTES_MAX)
        self.explain = explain
        self.takes_bodies = takes_bodies

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        explain, arguments = self.explain, {"loop": server._loop, **server._kwargs}  # pyright: ignore[reportPrivateUsage]

        class Quiet(_Connection):
            __slots__ = ()
            takes_bodies = self.takes_bodies

            def handle_error(
                self,
                request: Any,  # noqa: ARG002 - it may hold what was asked
                status: int = 500,
                exc: BaseException | None = None,
                message: str | None = None,  # noqa: ARG002 - it quotes the question
            ) -> web.StreamResponse:
                _logger.warning("a request could not be read (%s)", type(exc).__name__)
                if status < 500:
                    why, fix = (
                        f"it is no request of HTTP, or longer than {LINE_BYTES_MAX} bytes",
                        "ask for less at once",
                    )
                else:
                    why, fix = "an error of this process", "try again"
                answer = explain(status, why, fix)
                answer.force_close()
                return answer

        class Server(type(server)):
            def __call__(self) -> web.RequestHandler:
                return Quiet(self, **arguments)

        server.__class__ = Server
        return server


class _Connection(web.RequestHandler):
    __slots__ = ()
    takes_bodies = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data if self.takes_bodies else _RAW.sub(lambda byte: b"%%%02X" % byte[0][0], data))
