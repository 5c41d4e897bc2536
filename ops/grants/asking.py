"""Asking: a request for one grant (授权) for which nobody wrote a file, as the subscriber's own folder would ask for it.

Its sinks are as they run. The folder is written for the while, and taken by what takes every other one (request.py, preview/): one
way to ask. Addresses and secrets are named in it, not written: they are those that the mesh keeps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from ops.kinds.sinks import SINKS, secrets_of
from ops.known_names import did_you_mean
from ops.lint.folder import SUBSCRIBER_FILE
from ops.settings import Connections, Settings
from schemas.agreement.directory import Directory
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured

KEPT = "MESH_CONNECTION_KEPT"
"""A variable that no environment has: the address is the one that the mesh keeps."""


@contextmanager
def asked_for(settings: Settings, directory: Directory, subscriber: str, grant: Mapping[str, Any]) -> Iterator[Path]:
    """The folder of a subscriber that asks for a grant, as `subscriber.yaml` writes one. Raises Misconfigured for no subscriber."""
    running = directory.subscribers.get(subscriber)
    if running is None:
        fix = did_you_mean(subscriber, directory.subscribers, "`mesh onboard` its folder first")
        raise Misconfigured(f"subscriber {subscriber}", "is not there", fix=fix)
    kept = Connections(settings.directory).sinks
    record = {
        "subscriber": subscriber,
        "name": running.name,
        "sinks": [_sink(kept, subscriber, sink) for sink in running.sinks],
        "grants": [{name: value for name, value in grant.items() if value}],
    }
    with tempfile.TemporaryDirectory(prefix="mesh-request-") as place:  # its mode is 0700
        folder = Path(place) / subscriber
        folder.mkdir()
        (folder / SUBSCRIBER_FILE).write_text(yaml.safe_dump(record, allow_unicode=True, sort_keys=False), "utf-8")
        yield folder


def _sink(kept: Connections, subscriber: str, sink: SinkConfig) -> dict[str, Any]:
    written = sink.to_json()
    if SINKS[sink.kind].has_address:
        written["connection"] = f"${{{KEPT}}}"
    for secret in secrets_of(sink.kind):
        with suppress(Misconfigured):  # it has none
            kept.address_of(subscriber, f"{sink.name}.{secret}")
            written[secret] = f"${{{KEPT}}}"
    return written
