"""Drop place: the port through which a drop sink writes its files, wherever they are: a directory, a bucket, a server.

A place has folders, made when first written to, and files in them. It knows nothing of changes, offsets or formats.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, Protocol, cast

from schemas.errors import ContractBroken, Transient

Fill = Callable[[BinaryIO], None]
"""Writes the content of one file."""

STATE = ".mesh"
"""The folder of what concerns nobody else: how far the drop is."""

_TRIAL = "trial.json"
_IN_MEMORY_BYTES = 8 << 20
_PIECE = 1 << 20


class DropPlace(Protocol):
    """One thread uses it at a time. All raise Transient, Misconfigured and ContractBroken, with what a person can do about it.

    What one call wrote, the next one sees. A killed process leaves at most what `sweep` removes.
    """

    def write(self, folder: str, name: str, fill: Fill) -> tuple[int, str]:
        """Write a file whole or not at all, in place of one of that name; returns its bytes and their SHA-256 once it is durable."""
        ...

    def read(self, folder: str, name: str) -> bytes | None:
        """The content of a file; None if there is none."""
        ...

    def names(self, folder: str, begin: str, after: str = "") -> list[str]:
        """The files of a folder whose names begin so and sort behind `after`, sorted."""
        ...

    def sweep(self, folder: str, stem: str) -> None:
        """Remove what was being written under names that begin so, when a process ended."""
        ...

    def shown(self, folder: str, name: str) -> str:
        """Where a person finds a file."""
        ...

    def close(self) -> None:
        """Let go of it; never raises."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A whole file, ready to be sent, read from its start."""

    file: IO[bytes]
    size: int
    sha256: str


@contextmanager
def parcel(fill: Fill, subject: str) -> Iterator[Parcel]:
    """The file made on this host first, in memory or without a name: what goes out is whole, and its size and sum are known.

    Raises Transient where this host has no room for it.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
        try:
            fill(cast(BinaryIO, file))
            size = file.tell()
            digest = hashlib.sha256()
            file.seek(0)
            while piece := file.read(_PIECE):
                digest.update(piece)
            file.seek(0)
        except OSError as error:
            problem = f"{subject}: cannot be made on this host: {error.strerror or type(error).__name__}"
            fix = f"make room in {tempfile.gettempdir()} of the host that delivers, or set TMPDIR there: it goes on by itself"
            raise Transient(problem, fix=fix) from error
        yield Parcel(file=file, size=size, sha256=digest.hexdigest())


def try_place(place: DropPlace) -> None:
    """Do once what a drop does. One small file stays, so that nobody needs a right to remove. Raises what the place raises."""
    content = f'{{"trial": "{secrets.token_hex(8)}"}}\n'.encode()

    def fill(file: BinaryIO) -> None:
        file.write(content)

    place.write(STATE, _TRIAL, fill)
    if place.read(STATE, _TRIAL) != content or _TRIAL not in place.names(STATE, _TRIAL):
        subject = f"drop {place.shown(STATE, _TRIAL)}"
        problem = "what was written there is not what is read"
        raise ContractBroken(
            subject, problem, fix="let nobody else write there, and give a place that says of the newest write"
        )
