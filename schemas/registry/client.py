"""How our own hops ask the registry. Schemas by id are kept for ever: an id never changes its meaning (invariant 5)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote

import httpx

from schemas.backoff import Backoff
from schemas.errors import ContractBroken, Misconfigured, Rejected, Transient
from schemas.registry.address import RegistryAddress
from schemas.registry.refusal import CONTENT_TYPE

TRIES = 5
AGAIN = Backoff(first_seconds=0.2, longest_seconds=2.0)
REQUEST_SECONDS = 15.0
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})


class RegistryClient:
    """A registry at one address, which may hold a login (schemas/registry/address.py). Shared by the threads of a process."""

    def __init__(self, url: str) -> None:
        address = RegistryAddress.parse(url)
        self._url = address.url
        self._http = httpx.Client(
            base_url=address.url,
            timeout=REQUEST_SECONDS,
            headers={"Accept": CONTENT_TYPE},
            auth=address.login,
            verify=address.tls_context() or True,
        )
        self._schemas: dict[int, Mapping[str, Any]] = {}
        self._lock = threading.Lock()

    def schema(self, schema_id: int) -> Mapping[str, Any]:
        """The schema with this id. Raises Rejected("unknown_schema") for an id nobody gave, Transient if it cannot ask."""
        known = self._schemas.get(schema_id)
        if known is not None:
            return known
        answer = self._ask("GET", f"/schemas/ids/{schema_id}?format=resolved")
        if answer.status_code == 404:
            raise Rejected("unknown_schema", f"the registry knows no schema {schema_id}")
        schema = json.loads(self._good(answer, f"schema {schema_id}")["schema"])
        with self._lock:
            return self._schemas.setdefault(schema_id, schema)

    def register(self, subject: str, schema: Mapping[str, Any]) -> int:
        """The id of the schema under a subject, registering it if it is new.

        Raises ContractBroken when the registry refuses it as incompatible or unsound, Transient if it cannot ask.
        """
        answer = self._ask("POST", f"/subjects/{quote(subject, safe='')}/versions", {"schema": json.dumps(schema)})
        return self._good(answer, subject)["id"]

    def latest(self, subject: str) -> tuple[int, int, Mapping[str, Any]] | None:
        """Id, version and schema of a subject's latest version; None when it has none. Raises Transient."""
        answer = self._ask("GET", f"/subjects/{quote(subject, safe='')}/versions/latest?format=resolved")
        if answer.status_code == 404:
            return None
        found = self._good(answer, subject)
        return found["id"], found["version"], json.loads(found["schema"])

    def versions(self, subject: str) -> list[tuple[int, Mapping[str, Any]]]:
        """Every version of a subject with its schema, oldest first; empty when it has none. Raises Transient."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        answer = self._ask("GET", path)
        if answer.status_code == 404:
            return []
        told = [
            self._good(self._ask("GET", f"{path}/{number}?format=resolved"), subject)
            for number in self._good(answer, subject)
        ]
        return [(found["version"], json.loads(found["schema"])) for found in told]

    def breaches(self, subject: str, schema: Mapping[str, Any]) -> list[str]:
        """What the schema would break at the subject's level, in words; empty when it may be registered. Raises Transient."""
        path = f"/compatibility/subjects/{quote(subject, safe='')}/versions?verbose=true"
        answer = self._ask("POST", path, {"schema": json.dumps(schema)})
        if answer.status_code == 422:
            return [answer.json()["message"]]
        return list(self._good(answer, subject)["messages"])

    def set_compatibility(self, subject: str, level: str) -> None:
        """Set a subject's level, one of `schemas.wire.compatibility.LEVELS`. Raises ContractBroken for another, Transient."""
        answer = self._ask("PUT", f"/config/{quote(subject, safe='')}", {"compatibility": level})
        self._good(answer, subject)

    def is_there(self) -> bool:
        """Whether it answers now, and lets us in. Raises httpx.HTTPError."""
        return self._http.get("/subjects", timeout=5.0).is_success

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        """Ask until there is an answer that means something; give up after `TRIES`."""
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(AGAIN.after(attempt))
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.TransportError as error:
                problem = type(error).__name__
                continue
            if answer.status_code not in _RETRIED:
                return answer
            problem = f"HTTP {answer.status_code}"
        raise Transient(
            f"the registry at {self._url} does not answer ({problem})",
            retry_after_seconds=2.0,
            fix="check that it runs: `mesh status`",
        )

    def _good(self, answer: httpx.Response, subject: str) -> Any:
        if answer.is_success:
            return answer.json()
        try:
            message = answer.json()["message"]
        except (ValueError, KeyError, TypeError):
            message = f"HTTP {answer.status_code}"
        if answer.status_code in (409, 422):
            raise ContractBroken(subject, message, fix="`mesh check` shows what breaks and for whom")
        if answer.status_code in (401, 403):
            fix = (
                "copy connections/mesh.service-token from where the mesh was started, or put a login into MESH_REGISTRY"
            )
            raise Misconfigured(f"registry {self._url}", message, fix=fix)
        fix = "check the registry's address in the settings"
        raise Misconfigured(f"registry {self._url}", message, fix=fix)


def lists_subjects(url: str) -> bool:
    """Whether a registry answers at this address, and lets us in."""
    try:
        with closing(RegistryClient(url)) as client:
            return client.is_there()
    except (httpx.HTTPError, Misconfigured):
        return False
