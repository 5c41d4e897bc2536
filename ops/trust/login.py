"""Login: under whose name a command acts where nobody else is named."""

from __future__ import annotations

import os
import pwd


def login_name() -> str:
    """The account whose process this is; not what its environment says of itself, which anybody sets."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"  # a container's user need not have a name
