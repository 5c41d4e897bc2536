"""Drop access: who besides the mesh's own user may read what is dropped. Nobody, unless the sink's options say so."""

from __future__ import annotations

import grp
import os
import stat
from dataclasses import dataclass

from schemas.errors import Misconfigured
from sinks.drops.options import FilesOptions

_MODES = {"owner": (0o600, 0o700), "group": (0o640, 0o750), "everyone": (0o644, 0o755)}


@dataclass(frozen=True, slots=True, kw_only=True)
class DropAccess:
    """Modes of files and of the folders of feeds, and their group; None leaves the group that the system gives."""

    file_mode: int = 0o600
    folder_mode: int = 0o700
    group_id: int | None = None

    def give(self, descriptor: int) -> None:
        """Let others have their access to an open file or folder. Raises OSError."""
        found = os.fstat(descriptor)
        if self.group_id is not None and found.st_gid != self.group_id:
            os.fchown(descriptor, -1, self.group_id)
        mode = self.folder_mode if stat.S_ISDIR(found.st_mode) else self.file_mode
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(descriptor, mode)  # whatever the umask is


PRIVATE = DropAccess()


def access_of(options: FilesOptions, label: str) -> DropAccess:
    """What the options say. Raises Misconfigured for a group that nobody knows, or that would get nothing."""
    group_id = None
    if options.group:
        if options.readable_by != "group":
            fix = "write `readable_by: group` beside it, or take the group out"
            raise Misconfigured(f"{label}, group", f"may read nothing: readable_by is {options.readable_by}", fix=fix)
        try:
            group_id = grp.getgrnam(options.group).gr_gid
        except KeyError:
            fix = "name a group of the machine that delivery runs on, or take it out for that of the directory"
            raise Misconfigured(f"{label}, group", "there is no such group", fix=fix) from None
    file_mode, folder_mode = _MODES[options.readable_by]
    return DropAccess(file_mode=file_mode, folder_mode=folder_mode, group_id=group_id)
