"""Which user a server runs as that refuses to run as root."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from ops.embedded.program import User
from schemas.errors import Misconfigured


def unprivileged_user(program: Path, directory: Path, name: str) -> User | None:
    """The user to run `program` as when we are root, None otherwise: `nobody`, or any other that the system knows.

    `directory` is where its data lies, `name` what people call the server. Raises Misconfigured when the system knows neither
    such a user nor ourselves: initdb asks for the name.
    """
    fix = f"add an entry to /etc/passwd, run as another user, or use a {name} that runs already"
    own = os.geteuid()
    if own != 0:
        try:
            pwd.getpwuid(own)
        except KeyError as error:
            raise Misconfigured(f"embedded {name}", f"user {own} has no name on this system", fix=fix) from error
        return None
    known = sorted(
        (entry for entry in pwd.getpwall() if entry.pw_uid != 0), key=lambda entry: entry.pw_name != "nobody"
    )
    if not known:
        raise Misconfigured(f"embedded {name}", "refuses to run as root, and there is no other user", fix=fix)
    needs_override = not (_is_open(program) and _is_open(directory))
    return User(uid=known[0].pw_uid, gid=known[0].pw_gid, needs_override=needs_override)


def _is_open(path: Path) -> bool:
    """Whether anybody may walk to the path and enter or run it."""
    real = path.resolve()
    return all(step.stat().st_mode & 0o001 for step in (real, *real.parents))
