"""Two meshes as their people join them: anchors, what one grants the other, and where that is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.stage.running_mesh import Ran, RunningMesh, run


def write(folder: Path, name: str, value: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(value, ensure_ascii=False))
    return folder


def anchor(mesh: RunningMesh, *arguments: object, **options: str) -> Ran:
    named = [text for name, value in options.items() for text in (f"--{name}", value)]
    return run("anchor", arguments[0], "--dir", mesh.directory, "--json", *named, *arguments[1:])


def mesh_subscriber(folder: Path, code: str, fingerprint: str, **grant: Any) -> Path:
    """A subscriber that is another mesh."""
    sink = {"name": "main", "kind": "mesh", "options": {"anchor": fingerprint}}
    grants = [{"purpose": "社区网格化", "legal_basis": "示例依据", **grant}]
    record = {"subscriber": code, "name": "网格", "sinks": [sink], "grants": grants}
    return write(folder / code, "subscriber.yaml", record)


def address(provider: RunningMesh, user: str) -> str:
    """What the provider's people hand over: login, listener, registry."""
    password = (provider.directory / "connections" / f"{user}.kafka").read_text()
    endpoints = provider.endpoints
    return f"mesh://{user}:{quote(password)}@{endpoints['kafka_sasl']}?registry={quote(endpoints['registry'])}"


def identity_of(mesh: RunningMesh) -> str:
    ran = mesh.run("identity")
    assert ran.status == 0, ran.err
    return ran.out
