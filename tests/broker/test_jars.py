"""The jar cache against a real HTTP server: interrupted, damaged and missing downloads."""

from __future__ import annotations

import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from ops.embedded.jars import Jar, class_path
from schemas.errors import Misconfigured, Transient

ROOT = Path(__file__).parent.parent.parent
BYTES = bytes(range(256)) * 4000
JAR = Jar(coordinate="org.example:thing:1.0", sha256=hashlib.sha256(BYTES).hexdigest(), size_bytes=len(BYTES))


class Repository:
    """A Maven repository on 127.0.0.1 that can cut a connection short or send other bytes."""

    def __init__(self) -> None:
        self.files = {f"/{JAR.path}": BYTES}
        self.requests: list[tuple[str, str | None]] = []
        self.cut_after = 0
        repository = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                repository.requests.append((self.path, asked))
                body = repository.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                cut, repository.cut_after = repository.cut_after, 0
                self.wfile.write(body[start : start + cut] if cut else body[start:])

            def log_message(self, format: str, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def repository() -> Iterator[Repository]:
    served = Repository()
    yield served
    served.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Repository) -> Path:
    """A user whose Maven settings name the repository as the mirror of everything."""
    for name in ("M2_REPO", "JGO_CONFIG_FILE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MESH_CACHE", str(tmp_path / "cache"))
    (tmp_path / ".m2").mkdir()
    (tmp_path / ".m2" / "settings.xml").write_text(
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors><mirror><id>m</id>'
        f"<mirrorOf>*</mirrorOf><url>{repository.url}/</url></mirror></mirrors></settings>"
    )
    (tmp_path / "thing.lock").write_text(f"# a comment\n{JAR.coordinate} {JAR.sha256} {JAR.size_bytes}\n")
    return tmp_path


def get(home: Path) -> Path:
    [file] = class_path(home / "thing.lock", Console(quiet=True), pause=lambda _: None)
    return file


def test_jar_is_downloaded_once_and_verified(home: Path, repository: Repository):
    assert get(home).read_bytes() == BYTES
    assert get(home).read_bytes() == BYTES
    assert repository.requests == [(f"/{JAR.path}", None)]


def test_cut_connection_is_resumed_where_it_ended(home: Path, repository: Repository):
    repository.cut_after = 300_000
    assert get(home).read_bytes() == BYTES
    assert repository.requests[1] == (f"/{JAR.path}", "bytes=300000-")


def test_damaged_cache_is_noticed_and_downloaded_again(home: Path, repository: Repository):
    file = get(home)
    file.write_bytes(b"x" * len(BYTES))
    assert get(home).read_bytes() == BYTES
    assert len(repository.requests) == 2


def test_damaged_rest_of_an_earlier_run_is_thrown_away(home: Path, repository: Repository):
    partial = (home / "cache" / "jars" / JAR.path).with_suffix(".part")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * 1000)
    assert get(home).read_bytes() == BYTES


def test_other_bytes_than_locked_are_refused_by_name(home: Path, repository: Repository):
    repository.files[f"/{JAR.path}"] = BYTES[::-1]
    with pytest.raises(Misconfigured, match=r"org\.example:thing:1\.0.*SHA-256") as raised:
        get(home)
    assert raised.value.fix
    assert not (home / "cache" / "jars" / JAR.path).exists()


def test_missing_jar_names_repository_and_status(home: Path, repository: Repository):
    repository.files.clear()
    with pytest.raises(Misconfigured, match=rf"{repository.url} answers 404"):
        get(home)


def test_no_network_is_transient_and_says_what_to_do(home: Path, repository: Repository):
    repository.close()
    with pytest.raises(Transient, match="ConnectError") as raised:
        get(home)
    assert "settings.xml" in raised.value.fix


def test_intact_jar_of_the_local_maven_repository_is_taken(home: Path, repository: Repository):
    local = home / ".m2" / "repository" / JAR.path
    local.parent.mkdir(parents=True)
    local.write_bytes(BYTES)
    assert get(home).read_bytes() == BYTES
    assert repository.requests == []


def test_many_processes_at_once_download_once(home: Path, repository: Repository):
    code = (
        "import sys; from pathlib import Path; from ops.embedded.jars import class_path; class_path(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(home / "thing.lock")]
    running = [subprocess.Popen(command, cwd=ROOT, env=os.environ, stderr=subprocess.DEVNULL) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(repository.requests) == 1
