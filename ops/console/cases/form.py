"""Form: the words of a decision as they come from a page, as `mesh queue decide` takes them; and what a page offers for an item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from ops.queue.deciding import Officer
from ops.queue.wanted import correctable
from ops.trust.login import login_name
from schemas.agreement.directory import Directory
from schemas.contract import Field
from schemas.decision import ANSWER, CORRECT, EXTEND, OF_ROWS, OUTCOMES
from schemas.errors import Misconfigured
from streams.operators.flow import Flow

WORDS_MAX = 500


@dataclass(frozen=True, slots=True)
class Form:
    """What somebody sent, text alone."""

    fields: Mapping[str, str]

    @classmethod
    async def of(cls, request: web.Request) -> Form:
        """Read it."""
        sent = await request.post()
        return cls({name: value.strip()[:WORDS_MAX] for name, value in sent.items() if isinstance(value, str)})

    def __getitem__(self, name: str) -> str:
        return self.fields.get(name, "")

    def words(self) -> list[str]:
        """The outcome and its arguments. Raises Misconfigured where one is missing."""
        outcome = self["outcome"]
        if outcome not in OUTCOMES:
            raise Misconfigured("decision", "names no outcome", fix="choose one on the page")
        asked = ["row"] if outcome in OF_ROWS else []
        asked += ["verdict"] if outcome == ANSWER else ["until"] if outcome == EXTEND else []
        if outcome == CORRECT:
            asked.append("column")
        for name in asked:
            if not self[name]:
                raise Misconfigured(f"decision {outcome}", f"says no {name}", fix="fill it in on the page")
        given = [self[name] for name in asked]
        return [outcome, *given[:-1], f"{given[-1]}={self['value']}"] if outcome == CORRECT else [outcome, *given]

    def officer(self) -> Officer:
        """Who decides: whoever is acted for. Raises Misconfigured without a reason."""
        return Officer(by=login_name(), reason=self["reason"])


def columns_of(flow: Flow, feeds: Sequence[str], directory: Directory) -> dict[str, list[Field]]:
    """By feed the columns that an officer may correct; a feed of which there are none is left out."""
    found: dict[str, list[Field]] = {}
    for feed in dict.fromkeys(feeds):
        if (entry := directory.feeds.get(feed)) is not None:
            contract = entry.contract
            if names := correctable(flow, contract):
                found[feed] = [contract.by_name[name] for name in names]
    return found
