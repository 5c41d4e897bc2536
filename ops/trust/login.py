"""Login: under whose name a command acts where nobody else is named."""

from __future__ import annotations

import getpass


def login_name() -> str:
    """The name of the user who runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"  # a container's user need not have a name
