"""The API's server: every answer of ops/opendata/answers.py at its address, with an ETag, and every refusal in words.

It only reads what is published, so that nobody needs a token; it serves 127.0.0.1 (a gateway stands before it) or through an entrance
with TLS and limits. It logs no question: somebody may ask for a name. The pages for people are those of portal/.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ops.console.frame.page import is_page_wanted
from ops.opendata import dcat, openapi
from ops.opendata.answers import Answers, Table
from ops.opendata.changes import atom
from ops.opendata.download import Downloads
from ops.opendata.files import cell
from ops.opendata.listing import description, listed_of
from ops.opendata.portal.site import HOME, Portal
from ops.opendata.query import Query
from ops.opendata.refusal import Refusal
from ops.web.web import serve
from schemas.guard.entrance import LOOPBACK_ALONE, Entrance
from schemas.guard.middleware import guarded
from schemas.trace import described
from streams.flows.opendata.catalogue import Dataset, Part

ADDRESSES: Mapping[str, str] = {
    "/": "this list",
    "/datasets": "the data sets; ?department=&field=&q=&limit=&offset=",
    "/datasets/{code}": "one data set: columns, owner, class, freshness, quality, trend; ?trend=",
    "/datasets/{code}/rows": (
        "its rows; ?<column>=<value>&<column>.from=&<column>.to=&limit=&after=&format=json|csv; `next` leads on"
    ),
    "/datasets/{code}/download": "all of them as a file; ?<column>=<value>&format=csv|json|parquet, CSV for spreadsheets",
    "/datasets/{code}/changes.atom": "when it grew or shrank, as a feed (Atom)",
    "/datasets/{code}/sample": "a reproducible sample; ?number=<your own>&size=&format=json|csv",
    "/datasets/{code}/statistics": "figures of its columns; blank (null) where they would tell of fewer than k rows",
    "/datasets/{code}/relations": "which of its values occur in other data sets",
    "/datasets/{code}/heat": "its map: points by cell and region, CGCS2000",
    "/relations": "the relations of all data sets",
    "/catalogue.jsonld": "the catalogue as DCAT-AP 3",
    "/changes.atom": "which sets were published anew, as a feed (Atom)",
    "/openapi.json": "these addresses for programs (OpenAPI 3.1)",
    "/health": "200 while the answers are up to date, else 503 and why",
}
ASKED: Mapping[str, tuple[str, ...]] = {
    "/datasets": ("department", "field", "q", "limit", "offset"),
    "/datasets/{code}": ("trend",),
    "/datasets/{code}/rows": ("limit", "after", "format"),
    "/datasets/{code}/download": ("format",),
    "/datasets/{code}/sample": ("number", "size", "format"),
}
"""The parameters of the addresses that take any; rows and downloads take their columns' too."""
_HEADERS = {
    "Cache-Control": "no-cache",  # may be kept, but asked for again: the ETag says whether it still holds
    "Access-Control-Allow-Origin": "*",  # open data, without login or cookie: any page may show it
    "X-Content-Type-Options": "nosniff",
}
_logger = logging.getLogger(__name__)


class OpenData:
    """Serves until stopped. `unwell` says why answers may be behind the feeds, and nothing when they are not."""

    def __init__(
        self, answers: Answers, unwell: Callable[[], str], port: int = 0, entrance: Entrance = LOOPBACK_ALONE
    ) -> None:
        self._entrance = entrance
        self._answers = answers
        self._unwell = unwell
        self._port = port

    def run(self, stop: threading.Event, announce: Callable[[str], None] = lambda _: None) -> None:
        """Serve until `stop`. `announce` receives the address once it answers. Raises Misconfigured when the port is taken."""
        asyncio.run(serve(self.application(), "open data", self._port, stop, announce, _shut, self._entrance))

    def application(self) -> web.Application:
        """The web application."""
        answers = self._answers
        portal = Portal(answers, ADDRESSES, is_secure=self._entrance.tls is not None)
        guarding = guarded(_shut, "opendata", self._entrance, is_public=True)
        app = web.Application(middlewares=[guarding, _explained(portal)])
        for path, answer in {
            "/datasets": lambda _, query: answers.catalogue(query),
            "/datasets/{code}": answers.dataset,
            "/datasets/{code}/statistics": answers.statistics,
            "/datasets/{code}/relations": lambda code, query: answers.relations(query, code),
            "/datasets/{code}/heat": answers.heat,
            "/relations": lambda _, query: answers.relations(query),
        }.items():
            app.router.add_get(path, _told(answer))
        app.router.add_get("/", _addresses)
        app.router.add_get("/datasets/{code}/rows", _tabled(answers.rows))
        app.router.add_get("/datasets/{code}/sample", _tabled(answers.sample))
        app.router.add_get("/datasets/{code}/download", Downloads(answers, _HEADERS).file)
        app.router.add_get("/datasets/{code}/changes.atom", self._changes)
        app.router.add_get("/changes.atom", self._changes)
        app.router.add_get("/catalogue.jsonld", self._dcat)
        app.router.add_get("/openapi.json", self._openapi)
        app.router.add_get("/health", self._health)
        app.add_routes(portal.routes())
        return app

    async def _dcat(self, request: web.Request) -> web.Response:
        _nothing(Query(request.query.items()))
        answers = self._answers

        def told() -> bytes:
            def describe(listed: Dataset | Part) -> str:
                return description(listed, answers.fields(listed))

            return _json(dcat.catalogue(str(request.url.origin()), answers.states(), answers.terms, describe))

        return _response(request, await asyncio.to_thread(told), "application/ld+json")

    async def _changes(self, request: web.Request) -> web.Response:
        _nothing(Query(request.query.items()))
        code = request.match_info.get("code")
        moments = await asyncio.to_thread(self._answers.moments, code)
        title = "广州市开放数据更新" if code is None else listed_of(code).title
        body = atom(str(request.url.origin()), request.path, title, moments)
        return _response(request, body, "application/atom+xml")

    async def _openapi(self, request: web.Request) -> web.Response:
        _nothing(Query(request.query.items()))
        told = openapi.document(str(request.url.origin()), ADDRESSES, ASKED, self._answers.terms)
        return _response(request, _json(told), "application/json")

    async def _health(self, _: web.Request) -> web.Response:
        if why := self._unwell():
            refusal = Refusal(
                503, "answers may be behind the feeds", why=why, fix="wait, or see the log of this process"
            )
            return _refused(refusal)
        return web.json_response({"what": "ok"})


async def _addresses(request: web.Request) -> web.Response:
    """The list of addresses; a person at a browser is led to the pages."""
    if is_page_wanted(request):
        return web.Response(status=303, headers={"Location": HOME, "Vary": "Accept"})
    answer = _response(
        request, _json({"addresses": ADDRESSES, **_nothing(Query(request.query.items()))}), "application/json"
    )
    answer.headers["Vary"] = "Accept"
    return answer


def _told(answer: Callable[[str, Query], Mapping[str, Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that answers with JSON."""

    async def handle(request: web.Request) -> web.Response:
        query = Query(request.query.items())
        body = await asyncio.to_thread(lambda: _json(answer(request.match_info.get("code", ""), query)))
        return _response(request, body, "application/json")

    return handle


def _tabled(answer: Callable[[str, Query], Table]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that answers with rows, as JSON or CSV."""

    async def handle(request: web.Request) -> web.Response:
        query = Query(request.query.items())
        form = query.one_of("format", ("json", "csv"), "json")
        table = await asyncio.to_thread(answer, request.match_info["code"], query)
        following = None if table.next is None else f"{request.path}?{urlencode({**table.next, 'format': form})}"
        if form == "csv":
            response = _response(request, _csv(table), "text/csv")
        else:
            told = {"dataset": table.dataset, **table.about, "columns": table.columns, "rows": table.rows}
            response = _response(request, _json({**told, "next": following}), "application/json")
        if following is not None:
            response.headers["Link"] = f'<{following}>; rel="next"'
        return response

    return handle


def _nothing(query: Query) -> dict[str, Any]:
    """Refuse parameters where none is known."""
    query.rest()
    return {}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _csv(table: Table) -> bytes:
    """Rows under their columns' names (RFC 4180); null is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(table.columns)
    writer.writerows([cell(row[column]) for column in table.columns] for row in table.rows)
    return text.getvalue().encode()


def _response(request: web.Request, body: bytes, kind: str) -> web.Response:
    """The answer, or 304 where the caller has it already."""
    tag = hashlib.sha256(body).hexdigest()[:32]
    if any(known.value in {tag, "*"} for known in request.if_none_match or ()):
        response = web.Response(status=304, headers=_HEADERS)
    else:
        response = web.Response(body=body, content_type=kind, charset="utf-8", headers=_HEADERS)
    response.etag = tag
    return response


def _refused(refusal: Refusal) -> web.Response:
    answer = web.Response(
        status=refusal.status, body=_json(refusal.to_json()), content_type="application/json", headers=_HEADERS
    )
    if refusal.wait_seconds:
        answer.headers["Retry-After"] = str(refusal.wait_seconds)
    return answer


def _shut(status: int, why: str, fix: str) -> web.Response:
    return _refused(Refusal(status, "the request is refused", why=why, fix=fix))


def _explained(portal: Portal) -> Middleware:
    """Say what is refused and why, on a page where one was asked for; what nobody foresaw is logged by its address alone."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refusal as error:
            refusal = error
        except web.HTTPException as error:
            why = "only GET is answered" if error.status == 405 else "there is no such address"
            refusal = Refusal(error.status, error.reason, why=why, fix="/ lists the addresses")
        except Exception as error:  # noqa: BLE001 - answered as an error of this process
            # Neither the question nor the error's text, which may quote it or a row.
            _logger.error("open data: %s: %s", request.match_info.route.resource, described(error))  # noqa: TRY400
            fix = "try again; whoever runs this process finds the error in its log"
            refusal = Refusal(500, "the question could not be answered", why="an error of this process", fix=fix)
        return portal.refused(request, refusal) if portal.is_for(request) else _refused(refusal)

    return answer
