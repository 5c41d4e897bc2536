"""Trial: what onboarding tries of a drop, so that a missing directory is told to the person who can make it."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from schemas.errors import Misconfigured
from sinks.drops.access import DropAccess, access_of
from sinks.drops.options import FilesOptions
from sinks.sink import SinkSetup


def try_files(setup: SinkSetup) -> None:
    """Write and remove a file in the directory of the drop. Raises Misconfigured."""
    options = setup.options(FilesOptions)
    directory = Path(setup.secret(options.path, setup.sink.name))
    fix = f"make the directory {directory} and let this user write there, or correct the connection"
    if not directory.is_absolute():
        raise Misconfigured(f"{setup.label}, path", "is no absolute path", fix="give the directory's full path")
    if not directory.is_dir():
        raise Misconfigured(f"{setup.label}, path", "its directory is not there", fix=fix)
    access = access_of(options, setup.label)
    trial = directory / f".mesh-trial.{secrets.token_hex(8)}"
    try:
        descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor):
            _give(access, descriptor, f"{setup.label}, group")
    except OSError as error:
        raise Misconfigured(f"{setup.label}, path", f"cannot be written to ({error.strerror})", fix=fix) from error
    finally:
        with suppress(OSError):
            trial.unlink()


def _give(access: DropAccess, descriptor: int, setting: str) -> None:
    try:
        access.give(descriptor)
    except PermissionError as error:
        fix = "make this user a member of the group, and start delivery again; or name another"
        raise Misconfigured(setting, "this user may not give files to it", fix=fix) from error
