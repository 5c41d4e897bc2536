"""Acting: under whose name what a page does stands in history and audit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from ops.trust.login import acting_as
from schemas.guard.caller import EVERYBODY
from schemas.guard.middleware import CALLER


@contextmanager
def acting(request: web.Request) -> Iterator[None]:
    """While the block runs, and in the threads that it starts; on an open console as the account of its process, like a command."""
    caller = request[CALLER]
    with acting_as("" if caller is EVERYBODY else caller.name):
        yield
