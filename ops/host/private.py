"""Private: what the mesh writes is for the user who runs it, from the first byte on.

Topics, state and drops hold identity numbers. Every process of the mesh says so before it makes its first file; children inherit it.
"""

from __future__ import annotations

import os
from pathlib import Path


def keep_private(directory: Path) -> None:
    """From now on this process makes files of mode 0600 and folders of 0700; the mesh's folder is such a one, also an older one."""
    os.umask(0o077)
    directory.mkdir(parents=True, exist_ok=True)
    if directory.stat().st_uid == os.geteuid():
        directory.chmod(0o700)


def write_private(file: Path, text: str) -> None:
    """Write whole or not at all, readable by the owner alone."""
    fresh = file.with_name(f".{file.name}.fresh")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
    fresh.replace(file)
