"""Page: templates made into answers, in the reader's language and look, with the headers that keep a page to itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ops.console.frame.session import COOKIE, Sessions
from ops.console.frame.wording import FIRST, LANGUAGES, Words, load_words
from schemas.guard.caller import NOBODY, NOTHING
from schemas.guard.door import Shut
from schemas.guard.middleware import CALLER, REMIT
from schemas.guard.table import is_anybody_s, may

HERE = Path(__file__).parent.parent
THEMES = ("auto", "light", "dark")
"""As the system is set, or as somebody chose."""
KEPT_SECONDS = 365 * 86_400
SECURITY: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none at all a browser names no origin for our own forms either
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
STATIC: Mapping[str, str] = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "sse.min.js": "text/javascript",
    "mark.svg": "image/svg+xml",
}
BROWSER = web.RequestKey("browser", str)
"""The id of the browser that asks (ops/console/frame/session.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server's pages. `server`: its name in the table of who may; `name`: the part of the words that says what it is called.

    `folder` has its templates and its words, beside those of the console, which every site has; `navigation` are the addresses
    of its pages with their words, the first one that of its first page. A site that `is_public` knows nobody: it takes no forms
    that change anything, and keeps nothing in a browser but what somebody chose.
    """

    server: str
    name: str
    navigation: Sequence[tuple[str, str]]
    folder: Path = HERE
    is_public: bool = False


CONSOLE = Site(
    server="console",
    name="frame",
    navigation=tuple(
        (f"/{name}" if name != "home" else "/", f"nav.{name}")
        for name in ("home", "catalogue", "grants", "subscriptions", "cases", "onboarding")
    ),
)


@cache
def static(name: str) -> tuple[bytes, str]:
    """A file of the pages' own, and by what it is told from its successors."""
    body = (HERE / "static" / name).read_bytes()
    return body, hashlib.sha256(body).hexdigest()[:12]


class Pages:
    """Renders templates. `is_guarded`: people enter with a token, and can leave."""

    def __init__(self, sessions: Sessions, *, is_guarded: bool, is_secure: bool, site: Site = CONSOLE) -> None:
        self.sessions = sessions
        self.is_guarded = is_guarded
        self._is_secure = is_secure
        self._site = site
        folders = dict.fromkeys([site.folder, HERE])
        self._texts = {key: pair for folder in folders for key, pair in load_words(folder / "words.yaml").items()}
        self._environment = Environment(
            loader=FileSystemLoader([folder / "templates" for folder in folders]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["static"] = lambda name: f"/static/{name}?v={static(name)[1]}"

    def words(self, request: web.Request) -> Words:
        """The texts in the reader's language."""
        chosen = request.cookies.get("language", FIRST)
        return Words(self._texts, chosen if chosen in LANGUAGES else FIRST)

    def can(self, request: web.Request, endpoint: str, owner: str = "") -> bool:
        """Whether whoever looks may use an endpoint, of what is this agency's."""
        server = self._site.server
        return is_anybody_s(server, endpoint) or not isinstance(
            may(server, endpoint, request.get(CALLER, NOBODY), owner), Shut
        )

    def text(self, request: web.Request, template: str, **values: Any) -> str:
        """A template with its values, as HTML."""
        words = self.words(request)
        caller = request.get(CALLER, NOBODY)
        theme = request.cookies.get("theme", "")

        def can(endpoint: str, owner: str = "") -> bool:
            return self.can(request, endpoint, owner)

        return self._environment.get_template(template).render(
            t=words,
            theme=theme if theme in THEMES else THEMES[0],
            themes=THEMES,
            proof="" if self._site.is_public else self.sessions.proof(request[BROWSER]),
            site=self._site,
            caller=caller,
            remit=request.get(REMIT, NOTHING),
            can=can,
            path=request.path,
            address=request.path_qs,
            is_guarded=self.is_guarded,
            **values,
        )

    def page(self, request: web.Request, template: str, http_status: int = 200, **values: Any) -> web.Response:
        """The answer."""
        answer = web.Response(
            status=http_status, text=self.text(request, template, **values), content_type="text/html", headers=SECURITY
        )
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def prefer(self, asked: Mapping[str, str]) -> web.Response:
        """Keep a language or a look in the browser, and lead back to the page."""
        answer = web.Response(status=303, headers={**SECURITY, "Location": within_site(asked.get("back", ""))})
        for name, known in (("language", LANGUAGES), ("theme", THEMES)):
            if (chosen := asked.get(name, "")) in known:
                self.keep(answer, name, chosen, seconds=KEPT_SECONDS)
        return answer

    def keep(self, answer: web.StreamResponse, name: str, value: str, *, seconds: int | None = None) -> None:
        """Let the browser keep something: for its session, or for longer."""
        answer.set_cookie(
            name, value, max_age=seconds, path="/", httponly=True, samesite="Strict", secure=self._is_secure
        )

    def keep_browser(self, answer: web.StreamResponse, browser: str) -> None:
        """Let the browser keep its id."""
        self.keep(answer, COOKIE, browser)


def within_site(address: str) -> str:
    """An address of this server; the first page where it would lead elsewhere."""
    is_ours = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if is_ours else "/"


def is_page_wanted(request: web.Request) -> bool:
    """Whether a person at a browser asks, rather than a program."""
    return "text/html" in request.headers.get("Accept", "")


async def serve_static(request: web.Request) -> web.Response:
    """A file of the pages' own."""
    name = request.match_info["name"]
    if name not in STATIC:
        raise web.HTTPNotFound
    body, _ = static(name)
    kept = {"Cache-Control": "public, max-age=86400"}
    return web.Response(body=body, content_type=STATIC[name], charset="utf-8", headers={**SECURITY, **kept})
