"""The guard around a WSGI application, which the metrics page is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schemas.guard.door import Shut, judge
from schemas.guard.entrance import Entrance
from schemas.guard.table import TABLE, may

WsgiApp = Callable[[Mapping[str, Any], Callable[..., Any]], Iterable[bytes]]


def guarded(app: WsgiApp, server: str, entrance: Entrance) -> WsgiApp:
    """The application behind the door and the guard; it is asked at the addresses in the table and at no other."""

    def answer(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        shut = _shut(environ, server, entrance)
        if shut is None:
            return app(environ, start_response)
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        if shut.wait_seconds:
            headers.append(("Retry-After", str(max(1, math.ceil(shut.wait_seconds)))))
        if shut.status == 401:
            headers.append(("WWW-Authenticate", "Bearer"))
        start_response(f"{shut.status} Refused", headers)
        return [f"refused: {shut.why}; {shut.fix}\n".encode()]

    return answer


def _shut(environ: Mapping[str, Any], server: str, entrance: Entrance) -> Shut | None:
    headers = {
        name[5:].replace("_", "-").title(): str(value) for name, value in environ.items() if name.startswith("HTTP_")
    }
    method = str(environ.get("REQUEST_METHOD", "GET"))
    if shut := judge(method, headers):
        return shut
    endpoint = f"{'GET' if method == 'HEAD' else method} {environ.get('PATH_INFO') or '/'}"
    is_there = endpoint in TABLE[server]
    if entrance.guard is not None:
        address = str(environ.get("REMOTE_ADDR", ""))
        found = entrance.guard.who(headers.get("Authorization", ""), address)
        if isinstance(found, Shut):
            entrance.guard.tell(server, found, address)
            return found
        if is_there and isinstance(refused := may(server, endpoint, found, ""), Shut):
            entrance.guard.tell(server, refused, address)
            return refused
    return None if is_there else Shut(404, "there is no such address", f"ask {', '.join(sorted(TABLE[server]))}")
