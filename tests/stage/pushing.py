"""A push endpoint by itself: guarded as others are, and with nobody who tells what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from producers.pushed.address import push_address
from producers.pushed.desk import PushDesk
from producers.pushed.options import PushOptions
from producers.pushed.register import PushRegister
from producers.pushed.server import PushServer
from schemas.guard.entrance import Entrance
from schemas.guard.guard import Guard
from tests.stage.capturing import Schemas, contract
from tests.stage.live_feed import free_port


@dataclass(frozen=True)
class PushEndpoint:
    url: str
    server: PushServer


@contextmanager
def push_endpoint(feed: str, folder: Path, guard: Guard | None) -> Iterator[PushEndpoint]:
    url, options = f"http://127.0.0.1:{free_port()}", PushOptions(answer_seconds=0.5)
    desk = PushDesk(options.waiting_max, options.answer_seconds)
    desk.entries = {feed: Schemas().entry(contract(feed, {"id": "string"}))}
    with closing(PushRegister(folder / "batches.sqlite", options.keep_seconds)) as register:
        server = PushServer(
            name="stage.main",
            address=push_address(url, "stage"),
            entrance=Entrance(guard=guard),
            options=options,
            desk=desk,
            register=register,
            folder=folder,
        )
        server.start()
        try:
            yield PushEndpoint(url, server)
        finally:
            desk.close()
            server.close()
