"""Private: what the mesh writes is for the user who runs it, from the first byte on.

Topics, state and drops hold identity numbers. Every process of the mesh says so before it makes its first file; children inherit it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def keep_private(directory: Path) -> None:
    """From now on this process makes files of mode 0600 and folders of 0700; the mesh's folder is such a one, also an older one."""
    os.umask(0o077)
    directory.mkdir(parents=True, exist_ok=True)
    if directory.stat().st_uid == os.geteuid():
        directory.chmod(0o700)


def fresh_private(file: Path, text: str) -> Path:
    """A new file beside this one, readable by the owner alone from its first byte on, and whole; to be put in its place."""
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
    return fresh


def write_private(file: Path, text: str) -> None:
    """Write whole or not at all, readable by the owner alone."""
    fresh_private(file, text).replace(file)
