"""Request: what a question to the registry says beside its address, and what of the registry whoever asks may see."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from schemas.guard.caller import agency_of
from schemas.guard.middleware import REMIT
from schemas.registry.refusal import ErrorCode, Refusal
from schemas.registry.state import Version


def flag(request: web.Request, name: str) -> bool:
    """Whether the query says that it is so."""
    return request.query.get(name, "").lower() == "true"


def page(request: web.Request, items: Sequence[Any]) -> list[Any]:
    """The part of a list that the query asks for by `offset` and `limit`."""

    def number(name: str, default: int) -> int:
        try:
            return int(request.query.get(name, default))
        except ValueError:
            return default

    offset, limit = max(number("offset", 0), 0), number("limit", -1)
    return list(items[offset:] if limit < 1 else items[offset : offset + limit])


async def body_of(request: web.Request) -> Any:
    """The body. Raises HTTPBadRequest for what is no JSON, and Refusal where it refers to what the sender may not read."""
    try:
        body = json.loads(await request.read())
        json.dumps(body, ensure_ascii=False).encode()  # half characters cannot be kept
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(reason="Bad Request: the body is no readable JSON") from None
    references = body.get("references") if isinstance(body, Mapping) else None
    for reference in references if isinstance(references, list) else ():
        named = reference.get("subject") if isinstance(reference, Mapping) else None
        if isinstance(named, str) and not is_within(request, named):
            raise Refusal(ErrorCode.SUBJECT_NOT_FOUND, f"Subject '{named}' not found.")
    return body


def subject_of(request: web.Request) -> str:
    """The subject in the address."""
    return request.match_info["subject"]


def is_within(request: web.Request, subject: str) -> bool:
    """Whether a subject is of the agencies of whoever asks."""
    return request[REMIT].holds(agency_of(subject))


def within(request: web.Request, uses: Sequence[Version], otherwise: str) -> Version:
    """One of the versions of a schema that whoever asks may see. Raises Refusal, as if there were none."""
    for version in uses:
        if is_within(request, version.subject):
            return version
    raise Refusal(ErrorCode.SCHEMA_NOT_FOUND, otherwise)
