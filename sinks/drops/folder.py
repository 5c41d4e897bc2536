"""Drop folder: the directory of a drop, in which somebody else may write as well.

It is opened once, and whatever is done in it is done relative to its descriptor. Nothing follows a link: a file is written under a
name that nobody can guess, made by this process, and gets its own name by a rename, which replaces a link instead of following it.
Files and folders are this user's alone from the first byte, and whole before anybody else may read them (sinks/drops/access.py).
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from schemas.errors import ContractBroken, Fenced, MeshError, Transient
from sinks.drops.access import PRIVATE, DropAccess

DRAFT = ".draft"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DropFolder:
    """Raises Transient for what the file system refuses, ContractBroken for what somebody put in the way, Fenced if it is another."""

    def __init__(self, directory: Path, access: DropAccess = PRIVATE) -> None:
        self.directory = directory
        self._access = access
        with self._told(""):
            self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folders: dict[str, int] = {}

    def close(self) -> None:
        """Let go of the directory."""
        for descriptor in (*self._folders.values(), self._root):
            with suppress(OSError):
                os.close(descriptor)
        self._folders = {}

    def _stays(self) -> None:
        """See that the directory is the one that was opened: it knows how far it is, another does not."""
        with self._told(""):
            there, opened = self.directory.stat(), os.fstat(self._root)
        if (there.st_dev, there.st_ino) != (opened.st_dev, opened.st_ino):
            raise Fenced(f"drop {self.directory}: is another directory now")

    def write(self, folder: str, name: str, fill: Callable[[BinaryIO], None]) -> tuple[int, str]:
        """Write a file whole or not at all; returns its bytes and their SHA-256 once it is durable under its name."""
        self._stays()
        with self._told(f"{folder}/{name}"):
            at = self._folder(folder)
            draft = f".{name}.{secrets.token_hex(8)}{DRAFT}"
            descriptor = os.open(draft, _NEW, 0o600, dir_fd=at)
            try:
                with os.fdopen(descriptor, "r+b") as file:
                    fill(file)
                    file.flush()
                    os.fsync(file.fileno())
                    size, digest = file.tell(), _digest(file)
                    self._access_in(folder).give(file.fileno())
                    os.rename(draft, name, src_dir_fd=at, dst_dir_fd=at)
                    self._is_ours(file, at, name)
                os.fsync(at)
            except BaseException:
                with suppress(OSError):  # half a file takes the room that the next try needs
                    os.unlink(draft, dir_fd=at)
                raise
        return size, digest

    def read(self, folder: str, name: str) -> bytes | None:
        """The content of a file; None if there is none."""
        with self._told(f"{folder}/{name}"):
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder(folder))
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, "rb") as file:
                return file.read()

    def names(self, folder: str, begin: str, after: str = "") -> list[str]:
        """The files of a folder whose names begin so and sort behind `after`, sorted."""
        with self._told(folder):
            found = os.listdir(self._folder(folder))  # noqa: PTH208 -- by descriptor
        return sorted(name for name in found if name.startswith(begin) and name > after)

    def sweep(self, folder: str, stem: str) -> None:
        """Remove what was being written under names that begin so, when a process ended."""
        for name in self.names(folder, f".{stem}."):
            if name.endswith(DRAFT):
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._folder(folder))

    def shown(self, folder: str, name: str) -> str:
        """Where a person finds a file."""
        return str(self.directory / folder / name)

    def _folder(self, name: str) -> int:
        descriptor = self._folders.get(name)
        if descriptor is None:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=self._root)
            descriptor = self._folders[name] = os.open(name, _FOLDER, dir_fd=self._root)
            self._access_in(name).give(descriptor)
        elif not os.fstat(descriptor).st_nlink:  # it was removed meanwhile; a receiver may tidy up
            os.close(self._folders.pop(name))
            return self._folder(name)
        return descriptor

    def _access_in(self, folder: str) -> DropAccess:
        return PRIVATE if folder.startswith(".") else self._access  # how far a drop is concerns nobody else

    def _is_ours(self, file: BinaryIO, at: int, name: str) -> None:
        there = os.stat(name, dir_fd=at, follow_symlinks=False)
        if there.st_ino != os.fstat(file.fileno()).st_ino:
            raise ContractBroken(
                f"drop {self.directory}",
                f"{name} was replaced while it was being written",
                fix="let nobody else write in that directory",
            )

    @contextmanager
    def _told(self, place: str) -> Iterator[None]:
        subject = f"drop {self.directory / place}"
        try:
            yield
        except MeshError:
            raise
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EISDIR}:
                raise ContractBroken(
                    subject,
                    "a link, a file or a folder stands where it has no business",
                    fix=f"remove what stands in its way, and let nobody but this user write in {self.directory}",
                ) from error
            fix = "make room: it goes on by itself" if error.errno in _FULL else "see whether the directory is there"
            raise Transient(f"{subject}: {error.strerror or type(error).__name__}", fix=fix) from error


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()
