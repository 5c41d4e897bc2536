"""The jar cache: every jar of a lock file, downloaded once per user, resumed, and verified before use.

A lock file names one jar per line: `group:artifact:version sha256 bytes`. The repositories are those that jgo's settings name
(`jgo.conf`, section `repositories`), then the mirror in Maven's own `settings.xml`, then Maven Central. A jar that lies in
the local Maven repository is taken from there. `python -m ops.embedded.jars COORDINATE...` prints a lock file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import httpx
import jgo
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from schemas.backoff import Backoff
from schemas.errors import Misconfigured, Transient

_ATTEMPTS = 4
_AGAIN = Backoff(first_seconds=0.5, longest_seconds=2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """One line of a lock file."""

    coordinate: str
    sha256: str
    size_bytes: int

    @property
    def path(self) -> str:
        """Where the jar lies in any Maven repository."""
        group, artifact, version = self.coordinate.split(":")
        return f"{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.jar"

    @property
    def file_name(self) -> str:
        """The jar's own name."""
        return self.path.rsplit("/", 1)[1]

    def is_at(self, file: Path) -> bool:
        """Whether the file holds exactly these bytes."""
        try:
            if file.stat().st_size != self.size_bytes:
                return False
            with file.open("rb") as opened:
                return hashlib.file_digest(opened, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


def read_lock(file: Path) -> list[Jar]:
    """The jars of a lock file, in the order of the class path."""
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [Jar(coordinate=coordinate, sha256=sha256, size_bytes=int(size)) for coordinate, sha256, size in lines]


def cache_directory() -> Path:
    """Where downloads are kept: `MESH_CACHE`, else the user's cache folder."""
    if named := os.environ.get("MESH_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pearlmesh"


@contextmanager
def held(name: str) -> Iterator[Path]:
    """A folder of the cache, while no other process works in it. Raises Misconfigured where this user may not write to it."""
    folder = cache_directory() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = (folder / ".lock").open("a")
    except OSError as error:
        fix = "set MESH_CACHE to a directory that this user may write to"
        raise Misconfigured(str(folder), f"cannot be written to ({error.strerror})", fix=fix) from error
    with opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield folder


def repositories(settings_xml: Path | None = None) -> list[str]:
    """Base addresses to try, in order: jgo's settings, Maven's own mirror of Central, Maven Central."""
    configured = list(GlobalSettings.load().repositories.values())
    mirror = _mirror(settings_xml or Path.home() / ".m2" / "settings.xml")
    # A mirror stands in for Central: where one is named, Central itself may be out of reach on purpose.
    return [address.rstrip("/") for address in [*configured, mirror or MAVEN_CENTRAL_URL]]


def _mirror(settings_xml: Path) -> str | None:
    try:
        root = ElementTree.parse(settings_xml).getroot()  # noqa: S314  the user's own file, not received input
    except FileNotFoundError:
        return None
    except ElementTree.ParseError as error:
        raise Misconfigured(str(settings_xml), f"is not XML ({error})", fix="mend or remove the file") from error
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        covered = {part.strip() for part in (mirror.findtext("{*}mirrorOf") or "").split(",")}
        if "!central" not in covered and covered & {"*", "central", "external:*"}:
            return (mirror.findtext("{*}url") or "").strip() or None
    return None


def class_path(
    lock_file: Path, console: Console | None = None, pause: Callable[[float], None] = time.sleep
) -> list[Path]:
    """Every jar of the lock file as a verified file; downloads what is missing, with a progress bar.

    Safe for any number of processes at once: one downloads, the others wait. Raises Transient when the network is to blame
    and Misconfigured when no repository has the jar as it was locked. `pause` waits between attempts.
    """
    jars = read_lock(lock_file)
    with held("jars") as folder:
        files = [folder / jar.path for jar in jars]
        seal = folder / f"{lock_file.stem}-{hashlib.sha256(lock_file.read_bytes()).hexdigest()[:16]}.verified"
        if not _is_sealed(seal, jars, files):
            missing = [jar for jar, file in zip(jars, files, strict=True) if not jar.is_at(file)]
            missing = [jar for jar in missing if not _take_local(jar, folder / jar.path)]
            if missing:
                _download_all(missing, folder, console or Console(stderr=True), pause)
            seal.touch()
    return files


def _is_sealed(seal: Path, jars: Sequence[Jar], files: Sequence[Path]) -> bool:
    """Whether all jars were verified before and none was written since: hashing 43 MB on every start is not free."""
    try:
        verified = seal.stat().st_mtime_ns
        stats = [file.stat() for file in files]
    except FileNotFoundError:
        return False
    return all(
        stat.st_size == jar.size_bytes and max(stat.st_mtime_ns, stat.st_ctime_ns) <= verified
        for jar, stat in zip(jars, stats, strict=True)
    )


def _take_local(jar: Jar, target: Path) -> bool:
    """Copy the jar from the local Maven repository if it is there and intact."""
    local = GlobalSettings.load().repo_cache / jar.path
    if not jar.is_at(local):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    shutil.copyfile(local, partial)
    partial.replace(target)
    return True


def _download_all(jars: Sequence[Jar], folder: Path, console: Console, pause: Callable[[float], None]) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with (
        httpx.Client(follow_redirects=True, timeout=httpx.Timeout(30, connect=10)) as client,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task(f"{len(jars)} jars", total=sum(jar.size_bytes for jar in jars))
        done = 0
        for jar in jars:
            progress.update(task, description=jar.file_name)

            def show(have: int, before: int = done) -> None:
                progress.update(task, completed=before + have)

            _Download(jar, folder / jar.path, client, show).run(repositories(), pause)
            done += jar.size_bytes
            show(0, done)
        progress.update(task, description=f"{len(jars)} jars")


class _Download:
    """One jar on its way: bytes go to `<jar>.part`, which a later attempt, also of a later run, goes on with."""

    def __init__(self, jar: Jar, target: Path, client: httpx.Client, show: Callable[[int], None]) -> None:
        self._jar = jar
        self._target = target
        self._client = client
        self._show = show
        self._partial = target.with_suffix(".part")
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        self._causes: list[str] = []
        self._is_answered = False

    def run(self, bases: Sequence[str], pause: Callable[[float], None]) -> None:
        """Get the jar from the first repository that has it; see `class_path` for the errors."""
        for attempt in range(1, _ATTEMPTS + 1):
            if any(self._attempt(base) for base in bases):
                self._partial.replace(self._target)
                return
            if attempt < _ATTEMPTS:
                pause(_AGAIN.after(attempt))
        said = "; ".join(dict.fromkeys(self._causes))
        if self._is_answered:
            fix = "check the repositories in jgo.conf and the mirror in Maven's settings.xml: none has the locked jar"
            raise Misconfigured(self._jar.coordinate, f"cannot be had: {said}", fix=fix)
        fix = (
            "check the network and the proxy, or name a mirror in Maven's settings.xml, and repeat: what has arrived is kept. "
            "Or use servers that run already (MESH_KAFKA, MESH_DATABASE)"
        )
        raise Transient(f"{self._jar.coordinate} cannot be downloaded: {said}", fix=fix)

    def _attempt(self, base: str) -> bool:
        try:
            self._fetch(f"{base}/{self._jar.path}")
        except httpx.HTTPStatusError as error:
            self._causes.append(f"{base} answers {error.response.status_code}")
            self._is_answered = self._is_answered or error.response.status_code in (404, 410)
            return False
        except httpx.HTTPError as error:
            self._causes.append(f"{base}: {type(error).__name__} {error}".rstrip())
            return False
        if self._jar.is_at(self._partial):
            return True
        self._partial.unlink()
        self._causes.append(f"{base} sent other bytes than the locked SHA-256")
        self._is_answered = True
        return False

    def _fetch(self, address: str) -> None:
        have = self._partial.stat().st_size if self._partial.exists() else 0
        if have >= self._jar.size_bytes:
            have = 0
        # Uncompressed: a range counts the bytes on the wire.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with self._client.stream("GET", address, headers=headers) as response:
            response.raise_for_status()
            # 206 continues; a server that knows no ranges starts anew, and so do we.
            is_continued = response.status_code == httpx.codes.PARTIAL_CONTENT
            with self._partial.open("ab" if is_continued else "wb") as opened:
                for chunk in response.iter_raw():
                    opened.write(chunk)
                    self._show(opened.tell())


def lock_lines(coordinates: Sequence[str]) -> Iterator[str]:
    """The lock file for these coordinates and all they depend on, as jgo resolves them."""
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        for artifact in jgo.resolve("+".join(coordinates)):
            coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
            jar = Jar(coordinate=coordinate, sha256="", size_bytes=0)
            response = client.get(f"{repositories()[0]}/{jar.path}").raise_for_status()
            yield f"{coordinate} {hashlib.sha256(response.content).hexdigest()} {len(response.content)}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lock_lines(sys.argv[1:]))
