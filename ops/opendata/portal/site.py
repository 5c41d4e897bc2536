"""Site: the portal's pages at their addresses, and what is said where one cannot be shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from ops.console.frame.page import SECURITY, Pages, Site, serve_static
from ops.console.frame.session import Sessions
from ops.opendata.answers import Answers
from ops.opendata.portal.catalogue import CataloguePage
from ops.opendata.portal.dataset import DatasetPages
from ops.opendata.portal.lookup import LookupPages
from ops.opendata.refusal import Refusal

HOME = "/portal/datasets"
SITE = Site(
    server="opendata",
    name="portal",
    folder=Path(__file__).parent,
    navigation=(
        (HOME, "portal.datasets"),
        ("/portal/businesses", "portal.businesses"),
        ("/portal/licences", "portal.licences"),
        ("/portal/api", "portal.api"),
    ),
    is_public=True,
)
_EXPLAINED = frozenset({400, 404, 405, 503})


class Portal:
    """`addresses`: those of the API, with what they are. `is_secure`: reached by TLS."""

    def __init__(self, answers: Answers, addresses: Mapping[str, str], *, is_secure: bool) -> None:
        self._pages = Pages(Sessions(), is_guarded=False, is_secure=is_secure, site=SITE)
        self._answers = answers
        self._addresses = addresses

    def routes(self) -> list[web.RouteDef]:
        """The pages; what begins with /portal and is none of them is said to be none."""
        datasets, lookup = DatasetPages(self._pages, self._answers), LookupPages(self._pages, self._answers)
        return [
            web.get("/static/{name}", serve_static),
            web.get(HOME, CataloguePage(self._pages, self._answers).page),
            web.get("/portal/datasets/{code}", datasets.page),
            web.get("/portal/datasets/{code}/rows", datasets.rows),
            web.get("/portal/datasets/{code}/sample", datasets.sample),
            web.get("/portal/businesses", lookup.businesses),
            web.get("/portal/licences", lookup.licences),
            web.get("/portal/api", self._api),
            web.get("/portal/preferences", self._prefer),
            web.get("/portal{rest:.*}", _lost),
        ]

    async def _api(self, request: web.Request) -> web.Response:
        url = str(request.url.origin())
        examples = [
            f"curl '{url}/datasets/enterprise/rows?reg_region=440106&established.from=2016&limit=100'",
            f"curl -o enterprise.csv '{url}/datasets/enterprise/download?format=csv&reg_region=440106'",
        ]
        values = {"addresses": self._addresses, "examples": examples, "terms": self._answers.terms}
        return self._pages.page(request, "api.html", **values)

    async def _prefer(self, request: web.Request) -> web.Response:
        return self._pages.prefer(dict(request.query))

    def is_for(self, request: web.Request) -> bool:
        """Whether a refusal is to be a page."""
        return request.path.startswith("/portal")

    def refused(self, request: web.Request, refusal: Refusal) -> web.Response:
        """A page that says what is the matter and where to go on."""
        code = str(refusal.status) if refusal.status in _EXPLAINED else "other"
        return self._pages.page(request, "refused.html", refusal.status, code=code, refusal=refusal)


async def _lost(request: web.Request) -> web.Response:
    if request.match_info["rest"] in {"", "/"}:
        return web.Response(status=303, headers={**SECURITY, "Location": HOME})
    raise Refusal(404, "there is no such page", why="no page has this address", fix=f"{HOME} lists the data sets")
