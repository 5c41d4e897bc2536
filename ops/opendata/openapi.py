"""The API described for programs: OpenAPI 3.1, made from the addresses that the server has and the sets that the catalogue lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ops.opendata.condition import parameters
from ops.opendata.files import FORMATS
from ops.opendata.terms import Terms

VERSION = "1"
_MEDIA = {".atom": "application/atom+xml", ".jsonld": "application/ld+json"}
_ROWS = {"/datasets/{code}/rows", "/datasets/{code}/download"}


def document(
    url: str, addresses: Mapping[str, str], asked: Mapping[str, Iterable[str]], terms: Terms
) -> dict[str, Any]:
    """The document. `url` is the API's own, without a slash; `asked` are the parameters behind the `?` by address."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "广州市政府数据统一开放平台接口",
            "version": VERSION,
            "description": "Open data of the city's departments (数据开放): read only. Refusals say what, why and what to do.",
            "license": {"name": terms.licence.name_en, "url": terms.licence.url},
        },
        "servers": [{"url": url}],
        "paths": {path: {"get": _get(path, says, asked.get(path, ()))} for path, says in addresses.items()},
        "components": {"schemas": {"Refusal": _REFUSAL}},
    }


_REFUSAL = {
    "type": "object",
    "required": ["what", "why", "fix"],
    "properties": {name: {"type": "string"} for name in ("what", "why", "fix")},
}


def _get(path: str, says: str, asked: Iterable[str]) -> dict[str, Any]:
    name = re.sub(r"\W+", "_", path).strip("_") or "addresses"
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    return {
        "operationId": name,
        "summary": says.partition(";")[0],
        "description": says,
        "parameters": [*_of_address(path), *map(_parameter, asked), *(_COLUMNS if path in _ROWS else [])],
        "responses": {
            "200": {"description": "the answer", "content": {kind: {} for kind in _kinds(path)}},
            "304": {"description": "the caller has it already (If-None-Match)"},
            "4XX": {"description": "the question cannot be answered", "content": refused},
            "503": {"description": "not at present", "content": refused},
        },
    }


def _of_address(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string"}}


_COLUMNS: list[dict[str, Any]] = [
    {
        "name": "columns",
        "in": "query",
        "style": "form",
        "explode": True,
        "description": (
            "`<column>=<value>` for any column of the set; "
            f"{' and '.join(f'`{name}=<bound>`' for name in parameters(['<column>']))}, both inclusive, for those with is_ordered"
        ),
        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    }
]


def _kinds(path: str) -> list[str]:
    if path.endswith("/download"):
        return [kind for kind, _ in FORMATS.values()]
    ending = path[path.rfind(".") :] if "." in path else ""
    return [_MEDIA.get(ending, "application/json"), *(["text/csv"] if path.endswith(("/rows", "/sample")) else [])]
