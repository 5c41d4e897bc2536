"""Receivers: what a subscriber sees of its drop, by means of its own: a directory, a stock S3 client, a stock SFTP client."""

from __future__ import annotations

import asyncio
import hashlib
import json
import posixpath
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import asyncssh

from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured
from sinks.kind import SinkKind
from sinks.sink import SinkSetup
from tests.stage.delivering import OutFeed
from tests.stage.weed import BUCKET, PASSWORD, SECRET_KEY, Weed, client

T = TypeVar("T")


class Files(Protocol):
    """A subscriber's hands. Names are paths below the drop."""

    def names(self) -> list[str]: ...
    def read(self, name: str) -> bytes: ...
    def put(self, name: str, content: bytes) -> None: ...
    def remove(self, name: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A drop of one kind: what its sink is told, and its subscriber's hands. `secrets` by `main` or `main.<secret>`."""

    kind: str
    files: Files
    secrets: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)

    def setup(self, feed: OutFeed, **options: Any) -> SinkSetup:
        return SinkSetup(
            subscriber=feed.subscriber,
            sink=SinkConfig(name="main", kind=self.kind, options={**self.options, **options}),
            address_of=self.address_of,
            schema_of=feed.schemas.__getitem__,
        )

    def address_of(self, owner: str, name: str) -> str:
        if name not in self.secrets:
            raise Misconfigured(f"{owner}.{name}", "has no address", fix="give it one")
        return self.secrets[name]

    def sink(self, kinds: Mapping[str, SinkKind], feed: OutFeed, **options: Any) -> Any:
        return kinds[self.kind].open(self.setup(feed, **options))

    def to_json(self, feed: OutFeed) -> str:
        """What another process needs for the same sink."""
        told = {"kind": self.kind, "secrets": dict(self.secrets), "options": dict(self.options)}
        return json.dumps({**told, "subscriber": feed.subscriber})

    def drops(self, folder: str = "police.person") -> list[str]:
        return [name for name in self.files.names() if name.startswith(f"{folder}/")]

    def lines(self, folder: str = "police.person") -> list[dict[str, Any]]:
        """The content of every finished file, in order of offsets; each must be what its manifest says."""
        found: list[dict[str, Any]] = []
        for name in self.drops(folder):
            if name.endswith(".done.json"):
                manifest = json.loads(self.files.read(name))
                content = self.files.read(f"{folder}/{manifest['file']}")
                assert hashlib.sha256(content).hexdigest() == manifest["sha256"], name
                read = [json.loads(line) for line in content.decode().splitlines()]
                assert len(read) == manifest["records"]
                found += read
        return found


class LocalFiles:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self._directory)) for path in self._directory.rglob("*") if path.is_file())

    def read(self, name: str) -> bytes:
        return (self._directory / name).read_bytes()

    def put(self, name: str, content: bytes) -> None:
        (self._directory / name).parent.mkdir(exist_ok=True)
        (self._directory / name).write_bytes(content)

    def remove(self, name: str) -> None:
        (self._directory / name).unlink()


class Objects:
    def __init__(self, endpoint: str, prefix: str) -> None:
        self._client, self._prefix = client(endpoint), prefix

    def names(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{self._prefix}/")
        found = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return sorted(key.removeprefix(f"{self._prefix}/") for key in found)

    def read(self, name: str) -> bytes:
        return self._client.get_object(Bucket=BUCKET, Key=f"{self._prefix}/{name}")["Body"].read()

    def put(self, name: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=f"{self._prefix}/{name}", Body=content)

    def remove(self, name: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=f"{self._prefix}/{name}")


class ServerFiles:
    def __init__(self, weed: Weed, directory: str, user: str = "drops") -> None:
        self._weed, self._directory, self._user = weed, directory, user

    def make(self) -> None:
        async def act(sftp: asyncssh.SFTPClient) -> None:
            await sftp.mkdir(self._directory)

        self._do(act)

    def names(self) -> list[str]:
        async def act(sftp: asyncssh.SFTPClient) -> list[str]:
            found: list[str] = []
            for folder in await sftp.listdir(self._directory):
                path = posixpath.join(self._directory, str(folder))
                with suppress(asyncssh.SFTPError):
                    found += [f"{folder}/{name}" for name in await sftp.listdir(path)]
            return sorted(found)

        return self._do(act)

    def read(self, name: str) -> bytes:
        async def act(sftp: asyncssh.SFTPClient) -> bytes:
            async with sftp.open(posixpath.join(self._directory, name), "rb") as file:
                return await file.read()

        return self._do(act)

    def put(self, name: str, content: bytes) -> None:
        async def act(sftp: asyncssh.SFTPClient) -> None:
            path = posixpath.join(self._directory, name)
            if not await sftp.isdir(posixpath.dirname(path)):
                await sftp.mkdir(posixpath.dirname(path))
            async with sftp.open(path, "wb") as file:
                await file.write(content)

        self._do(act)

    def remove(self, name: str) -> None:
        async def act(sftp: asyncssh.SFTPClient) -> None:
            await sftp.remove(posixpath.join(self._directory, name))

        self._do(act)

    def _do(self, act: Callable[[asyncssh.SFTPClient], Any]) -> Any:
        async def run() -> Any:
            async with (
                asyncssh.connect(
                    "127.0.0.1",
                    self._weed.sftp_port,
                    username=self._user,
                    password=PASSWORD,
                    client_keys=None,
                    agent_path=None,
                    config=None,
                    known_hosts=([asyncssh.import_public_key(self._weed.host_key)], [], []),
                ) as connection,
                connection.start_sftp_client() as sftp,
            ):
                return await act(sftp)

        return asyncio.run(run())


def local(directory: Path) -> Receiver:
    return Receiver(kind="files", files=LocalFiles(directory), secrets={"main": str(directory)})


def bucket(weed: Weed, prefix: str) -> Receiver:
    secrets = {
        "main": f"s3://{BUCKET}/{prefix}?endpoint={weed.s3}&region=us-east-1",
        "main.access_key": "drops",
        "main.secret_key": SECRET_KEY,
    }
    return Receiver(kind="s3", files=Objects(weed.s3, prefix), secrets=secrets, options={"allow_http": True})


def server(weed: Weed, name: str) -> Receiver:
    files = ServerFiles(weed, f"/{name}")
    files.make()
    secrets = {"main": f"sftp://drops@127.0.0.1:{weed.sftp_port}/{name}", "main.private_key": weed.private_key}
    return Receiver(kind="sftp", files=files, secrets=secrets, options={"host_key": weed.host_key})
