"""A host that turns authentication on, by the command line: what starts, who enters, and what is told of it."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from tests.stage.guarded import ask
from tests.stage.running_mesh import Ran, RunningMesh, run
from tests.stage.secured import Authority
from tests.stage.until import until


def command(mesh: RunningMesh, *arguments: str) -> Ran:
    """A command of a group, in this mesh's directory."""
    return run(*arguments, env={**mesh.variables, "MESH_DIR": str(mesh.directory)})


def test_a_server_that_others_reach_does_not_start_without_authentication(mesh: RunningMesh) -> None:
    ran = mesh.run("run", "console", "--name", f"open-{mesh.unique}", MESH_LISTEN="0.0.0.0")
    assert ran.status == 1
    assert "fix: set MESH_AUTH=on" in ran.err


def test_a_token_of_the_command_line_opens_a_guarded_server_until_it_is_revoked(
    mesh: RunningMesh, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.certificate("mesh")
    mesh.variables |= {
        "MESH_AUTH": "on",
        "MESH_LISTEN": "0.0.0.0",
        "MESH_TLS_CERTIFICATE": str(certificate),
        "MESH_TLS_KEY": str(key),
        "MESH_TLS_CA": str(authority.file),
    }
    nobody = command(mesh, "token", "issue", "--role", "viewer")
    assert (nobody.status, "fix: say `--agency" in nobody.err) == (1, True)
    verify = ssl.create_default_context(cafile=str(authority.file))
    name = f"console-{mesh.unique}"
    with mesh.started("run", "console", "--name", name) as process:
        assert process.stderr is not None
        said = b""
        while not (found := re.search(rb"console: (http\S+)", said)):
            line = process.stderr.readline()
            assert line, f"the console ended: {said.decode()}"
            said += line
        url = found[1].decode().replace("0.0.0.0", "127.0.0.1")
        assert url.startswith("https://")
        issued = command(
            mesh, "token", "issue", "--role", "viewer", "--all-agencies", "--for", mesh.unique, "--json"
        ).json
        token = issued["token"]
        until(lambda: ask(f"{url}/status", token=token, verify=verify)[0] == 200, 30, "it opens the console")
        assert ask(url, auth=("me", token), verify=verify)[0] == 200, "as a browser sends it"
        assert ask(url, verify=verify)[0] == 401
        listed = command(mesh, "token", "list")
        assert issued["id"] in listed.out
        assert token not in listed.out
        report = mesh.done("status")
        assert name in {entry["process"] for entry in report["processes"]}, "its metrics are read, by a token"
        revoked = command(mesh, "token", "revoke", issued["id"], "--json").json
        assert [entry["state"] for entry in revoked["tokens"]] == ["REVOKED"]
        until(lambda: ask(url, token=token, verify=verify)[0] == 401, 5, "it opens nothing any more")
        process.terminate()
        assert process.wait(20) == 0, process.stderr.read()
        said += process.stderr.read()
    assert token.rpartition("_")[2] not in said.decode()
    trail = command(mesh, "audit", "list", "--json").out
    for line in ("token issued", "token revoked"):
        assert re.search(rf'"what": "{line}"', trail), line
    assert token not in trail
