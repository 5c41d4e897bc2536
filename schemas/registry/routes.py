"""The REST interface, as Confluent's clients speak it (SR-02). Each handler reads a request and shows an answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from schemas.guard.caller import agency_of
from schemas.guard.entrance import Entrance
from schemas.guard.middleware import guarded
from schemas.registry.candidate import standing_alone
from schemas.registry.refusal import CONTENT_TYPE, ErrorCode, Refusal
from schemas.registry.request import body_of, flag, is_within, page, subject_of, within
from schemas.registry.service import Service
from schemas.registry.state import Version
from schemas.trace import described

BODY_BYTES_MAX = 1_000_000
_logger = logging.getLogger(__name__)

Handler = Callable[[Service, web.Request], Awaitable[Any]]


def application(service: Service, entrance: Entrance) -> web.Application:
    """The web application over one service, behind its guard."""
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_routes([web.route(method, path, _answering(handler, service)) for method, path, handler in ROUTES])
    app.middlewares.append(guarded(_shut, "registry", entrance, owner=_owner))
    app.middlewares.append(_explain)
    return app


def _owner(request: web.Request) -> str:
    return agency_of(request.match_info.get("subject", ""))


def _answering(handler: Handler, service: Service) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return _json(await handler(service, request))

    return answer


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(body), status=status, content_type=CONTENT_TYPE)


def _shut(status: int, why: str, fix: str) -> web.Response:
    return _json({"error_code": status, "message": f"The request is refused: {why}; {fix}"}, status)


@web.middleware
async def _explain(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give every refusal its code and words; what nobody foresaw is logged and answered as a failing store."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _json({"error_code": int(refusal.code), "message": refusal.message}, refusal.status)
    except web.HTTPException as answer:
        return _json({"error_code": answer.status, "message": f"HTTP {answer.status} {answer.reason}"}, answer.status)
    except Exception as error:  # noqa: BLE001 - answered as a failing store
        _logger.error("%s %s: %s", request.method, request.path, described(error))  # noqa: TRY400
        return _json({"error_code": int(ErrorCode.STORE), "message": "Error in the backend data store"}, 500)


# --- showing versions -----------------------------------------------------------------------------------------------


def _shown(service: Service, request: web.Request, version: Version, *, with_place: bool = True) -> dict[str, Any]:
    is_resolved = request.query.get("format") == "resolved"
    text = json.dumps(standing_alone(version, service.state), ensure_ascii=False) if is_resolved else version.schema
    place = {"subject": version.subject, "version": version.version, "id": version.id} if with_place else {}
    return {**place, "guid": version.guid, **version.extra, "schema": text}


def _schema_itself(version: Version) -> Any:
    return json.loads(version.schema)


async def _subjects(service: Service, request: web.Request) -> Any:
    prefix = request.query.get("subjectPrefix", "")
    names = service.answers.subjects(
        prefix, with_deleted=flag(request, "deleted"), only_deleted=flag(request, "deleted_only")
    )
    return page(request, [name for name in names if is_within(request, name)])


async def _versions(service: Service, request: web.Request) -> Any:
    is_only, is_with = flag(request, "deleted_only"), flag(request, "deleted")
    versions = service.answers.versions(subject_of(request), with_deleted=is_with, only_deleted=is_only)
    return page(request, [version.version for version in versions])


def _wanted_version(service: Service, request: web.Request) -> Version:
    wanted = request.match_info["version"]
    return service.answers.version(subject_of(request), wanted, with_deleted=flag(request, "deleted"))


async def _version(service: Service, request: web.Request) -> Any:
    return _shown(service, request, _wanted_version(service, request))


async def _version_schema(service: Service, request: web.Request) -> Any:
    return _schema_itself(_wanted_version(service, request))


async def _referenced_by(service: Service, request: web.Request) -> Any:
    version = service.answers.version(subject_of(request), request.match_info["version"], with_deleted=True)
    return page(request, service.state.referenced_by(version.subject, version.version))


async def _latest_with_metadata(service: Service, request: web.Request) -> Any:
    properties = dict(zip(request.query.getall("key", []), request.query.getall("value", []), strict=False))
    version = service.answers.latest_with(subject_of(request), properties, with_deleted=flag(request, "deleted"))
    return _shown(service, request, version)


def _of_id(service: Service, request: web.Request) -> Version:
    version = service.answers.by_id(request.match_info["id"])
    return within(request, service.state.uses(version.id), f"Schema {version.id} not found")


def _of_guid(service: Service, request: web.Request) -> Version:
    version = service.state.by_guid(request.match_info["guid"].lower())
    return within(request, [] if version is None else service.state.uses(version.id), "Schema not found")


async def _by_id(service: Service, request: web.Request) -> Any:
    version = _of_id(service, request)
    shown = _shown(service, request, version, with_place=False)
    return {**shown, "maxId": service.state.id_max} if flag(request, "fetchMaxId") else shown


async def _schema_by_id(service: Service, request: web.Request) -> Any:
    return _schema_itself(_of_id(service, request))


def _uses(service: Service, request: web.Request) -> list[Version]:
    uses = service.state.uses(_of_id(service, request).id)
    subject = request.query.get("subject")
    return [
        version
        for version in uses
        if is_within(request, version.subject)
        and (not version.is_deleted or flag(request, "deleted"))
        and subject in (None, version.subject)
    ]


async def _subjects_of_id(service: Service, request: web.Request) -> Any:
    return page(request, list(dict.fromkeys(version.subject for version in _uses(service, request))))


async def _versions_of_id(service: Service, request: web.Request) -> Any:
    places = [{"subject": version.subject, "version": version.version} for version in _uses(service, request)]
    return page(request, places)


async def _by_guid(service: Service, request: web.Request) -> Any:
    version = _of_guid(service, request)
    return {"id": version.id, **_shown(service, request, version, with_place=False)}


async def _ids_of_guid(service: Service, request: web.Request) -> Any:
    return [{"context": ".", "id": _of_guid(service, request).id}]


async def _schemas(service: Service, request: web.Request) -> Any:
    prefix, is_latest_only = request.query.get("subjectPrefix", ""), flag(request, "latestOnly")
    found: list[Version] = []
    names = service.answers.subjects(prefix, with_deleted=flag(request, "deleted"), only_deleted=False)
    for name in (name for name in names if is_within(request, name)):
        versions = service.state.versions(name, with_deleted=flag(request, "deleted"))
        found.extend(versions[-1:] if is_latest_only else versions)
    return [_shown(service, request, version) for version in page(request, found)]


async def _types(_service: Service, _request: web.Request) -> Any:
    return ["AVRO"]


async def _contexts(service: Service, request: web.Request) -> Any:
    named = {name[1:].split(":", 1)[0] for name in service.state.subjects if name.startswith(":.")}
    return page(request, [".", *sorted(named - {"."})])


async def _no_associations(_service: Service, _request: web.Request) -> Any:
    return []  # SR-06: anything but an empty list or 404 would fail a stock serializer


async def _nothing(_service: Service, _request: web.Request) -> Any:
    return {}


# --- writing --------------------------------------------------------------------------------------------------------


async def _register(service: Service, request: web.Request) -> Any:
    is_normalised = flag(request, "normalize")
    version = await service.register(subject_of(request), await body_of(request), is_normalised=is_normalised)
    return {"id": version.id, "version": version.version, "guid": version.guid}


async def _look_up(service: Service, request: web.Request) -> Any:
    is_normalised, with_deleted = flag(request, "normalize"), flag(request, "deleted")
    body = await body_of(request)
    version = await service.find(subject_of(request), body, is_normalised=is_normalised, with_deleted=with_deleted)
    return _shown(service, request, version)


async def _delete_subject(service: Service, request: web.Request) -> Any:
    return await service.delete_subject(subject_of(request), is_permanent=flag(request, "permanent"))


async def _delete_version(service: Service, request: web.Request) -> Any:
    wanted = request.match_info["version"]
    return await service.delete_version(subject_of(request), wanted, is_permanent=flag(request, "permanent"))


async def _compatibility(service: Service, request: web.Request) -> Any:
    wanted, is_normalised = request.match_info.get("version"), flag(request, "normalize")
    found = await service.breaches(subject_of(request), wanted, await body_of(request), is_normalised=is_normalised)
    answer: dict[str, Any] = {"is_compatible": not found}
    return {**answer, "messages": found} if flag(request, "verbose") else answer


async def _config(service: Service, request: web.Request) -> Any:
    return service.answers.config(request.match_info.get("subject"), is_inherited=flag(request, "defaultToGlobal"))


async def _set_config(service: Service, request: web.Request) -> Any:
    return await service.set_config(request.match_info.get("subject"), await body_of(request))


async def _delete_config(service: Service, request: web.Request) -> Any:
    return await service.delete_config(request.match_info.get("subject"))


async def _mode(service: Service, request: web.Request) -> Any:
    return {
        "mode": service.answers.mode(request.match_info.get("subject"), is_inherited=flag(request, "defaultToGlobal"))
    }


async def _set_mode(service: Service, request: web.Request) -> Any:
    is_forced = flag(request, "force")
    mode = await service.set_mode(request.match_info.get("subject"), await body_of(request), is_forced=is_forced)
    return {"mode": mode}


async def _delete_mode(service: Service, request: web.Request) -> Any:
    return {"mode": await service.delete_mode(request.match_info.get("subject"))}


def _for_all_and_one(path: str, handlers: Mapping[str, Handler]) -> list[tuple[str, str, Handler]]:
    scopes = (path, f"{path}/{{subject}}")
    return [(method, scope, handler) for scope in scopes for method, handler in handlers.items()]


ROUTES: Sequence[tuple[str, str, Handler]] = [
    ("GET", "/", _nothing),
    ("GET", "/subjects", _subjects),
    ("POST", "/subjects/{subject}", _look_up),
    ("DELETE", "/subjects/{subject}", _delete_subject),
    ("GET", "/subjects/{subject}/metadata", _latest_with_metadata),
    ("GET", "/subjects/{subject}/versions", _versions),
    ("POST", "/subjects/{subject}/versions", _register),
    ("GET", "/subjects/{subject}/versions/{version}", _version),
    ("DELETE", "/subjects/{subject}/versions/{version}", _delete_version),
    ("GET", "/subjects/{subject}/versions/{version}/schema", _version_schema),
    ("GET", "/subjects/{subject}/versions/{version}/referencedby", _referenced_by),
    ("GET", "/schemas", _schemas),
    ("GET", "/schemas/types", _types),
    ("GET", "/schemas/ids/{id}", _by_id),
    ("GET", "/schemas/ids/{id}/schema", _schema_by_id),
    ("GET", "/schemas/ids/{id}/subjects", _subjects_of_id),
    ("GET", "/schemas/ids/{id}/versions", _versions_of_id),
    ("GET", "/schemas/guids/{guid}", _by_guid),
    ("GET", "/schemas/guids/{guid}/ids", _ids_of_guid),
    ("POST", "/compatibility/subjects/{subject}/versions", _compatibility),
    ("POST", "/compatibility/subjects/{subject}/versions/{version}", _compatibility),
    *_for_all_and_one("/config", {"GET": _config, "PUT": _set_config, "DELETE": _delete_config}),
    *_for_all_and_one("/mode", {"GET": _mode, "PUT": _set_mode, "DELETE": _delete_mode}),
    ("GET", "/contexts", _contexts),
    ("GET", "/associations/resources/{namespace}/{name}", _no_associations),
]
