"""Login: under whose name a command acts where nobody else is named."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_acting: ContextVar[str] = ContextVar("acting", default="")


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """In a server that acts for others: whose act it is, for those who proved who they are. Empty: this process's own."""
    token = _acting.set(name)
    try:
        yield
    finally:
        _acting.reset(token)


def login_name() -> str:
    """Whoever is acted for, or the account whose process this is; not what its environment says of itself, which anybody sets."""
    if name := _acting.get():
        return name
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"  # a container's user need not have a name
