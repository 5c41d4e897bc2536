"""The registry's process: take the port, fence, replay, serve, follow; end loudly when its topic cannot be trusted.

The port is taken first, so that a second registry on the same address fails before it fences the first; callers that come
during the replay wait in the listen queue instead of being turned away.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Sequence

from aiohttp import web

from schemas.errors import ContractBroken, Misconfigured, Transient
from schemas.feed import REGISTRY
from schemas.guard.entrance import LOOPBACK_ALONE, Entrance
from schemas.log.kafka import Kafka
from schemas.registry.record import EncodedRecord
from schemas.registry.refusal import ErrorCode, Refusal
from schemas.registry.routes import application
from schemas.registry.service import HeldBy, Service
from schemas.registry.state import RegistryState
from schemas.registry.topic import SchemaTopic, Unsettled

READ_BACK_SECONDS = 10.0
SHUTDOWN_SECONDS = 5.0
_logger = logging.getLogger(__name__)


class RegistryServer:
    """A schema registry on one topic. `held_by` says what the running mesh goes by, which nobody may take away.

    `port` 0 takes a free one; `port` and `url` are true once `ready` is set.
    """

    def __init__(
        self,
        kafka: Kafka,
        entrance: Entrance = LOOPBACK_ALONE,
        port: int = 0,
        topic: str = REGISTRY,
        held_by: HeldBy = lambda _: "",
    ) -> None:
        self._kafka = kafka
        self._entrance = entrance
        self.port = port
        self._topic_name = topic
        self._held_by = held_by
        self.ready = threading.Event()

    @property
    def url(self) -> str:
        """Where it answers."""
        return self._entrance.url(self.port)

    def run(self, stop: threading.Event) -> None:
        """Serve until stopped, then return.

        Raises Transient when the broker does not answer at the start or a write's outcome is not known, Misconfigured when
        the port is taken, others would be let in without a guard, or another registry took over the topic, ContractBroken
        when a record of the topic cannot be read.
        """
        self._entrance.check("registry")
        host = self._entrance.host
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, self.port), family=family, backlog=1024)
        except OSError as error:
            fix = "end what listens there, or choose another port"
            raise Misconfigured(f"registry on {host}:{self.port}", str(error.strerror), fix=fix) from error
        with listener:
            self.port = listener.getsockname()[1]
            topic = SchemaTopic(self._kafka, self._topic_name)
            try:
                topic.open()
                serving = _Serving(topic, self._held_by, self._entrance)
                topic.replay(serving.take, stop)
                if not stop.is_set():
                    asyncio.run(serving.serve(listener, stop, self.ready))
            finally:
                topic.close()


class _Serving:
    """One run: the event loop owns the state; a thread follows the topic and hands each record into the loop."""

    def __init__(self, topic: SchemaTopic, held_by: HeldBy, entrance: Entrance) -> None:
        self._entrance = entrance
        self._topic = topic
        self._held_by = held_by
        self._state = RegistryState()
        self._read_to = -1
        self._read = asyncio.Condition()
        self._ended = asyncio.Event()
        self._failure: BaseException | None = None

    async def serve(self, listener: socket.socket, stop: threading.Event, ready: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        halt = threading.Event()

        def take(offset: int, key: bytes | None, value: bytes | None) -> None:
            asyncio.run_coroutine_threadsafe(self._take(offset, key, value), loop).result()

        def follow() -> None:
            try:
                self._topic.follow(take, is_over)
            except Exception as error:  # noqa: BLE001 - handed to the loop, which raises it
                loop.call_soon_threadsafe(self._fail, error)

        def is_over() -> bool:
            # Writes under way still need their records read back, so reading goes on while the server winds up.
            if stop.is_set():
                loop.call_soon_threadsafe(self._ended.set)
            return halt.is_set()

        runner = web.AppRunner(
            application(Service(self._state, self._append, self._held_by), self._entrance),
            access_log=None,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        await runner.setup()
        follower = threading.Thread(target=follow, name="registry-reader")
        follower.start()
        try:
            await web.SockSite(runner, listener, ssl_context=self._entrance.tls).start()
            ready.set()
            await self._ended.wait()
        finally:
            await runner.cleanup()
            halt.set()
            await asyncio.to_thread(follower.join)
        if self._failure is not None:
            raise self._failure

    def take(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Take one record of the topic. Raises ValueError for one that cannot be ours."""
        self._state.apply(key, value)
        self._read_to = offset

    async def _take(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        self.take(offset, key, value)
        async with self._read:
            self._read.notify_all()

    async def _append(self, entries: Sequence[EncodedRecord]) -> None:
        """Write, and wait until the records were read back: only then is the state what the topic says (SR-03)."""
        if self._failure is not None:
            raise Refusal(ErrorCode.FORWARDING, "This registry is stopping; ask again")
        try:
            read_to = self._read_to
            offset = await asyncio.to_thread(self._topic.append, entries)
            if offset <= read_to:
                raise ContractBroken("registry", "its topic begins anew", fix="restore the topic, then start again")
            async with asyncio.timeout(READ_BACK_SECONDS), self._read:
                await self._read.wait_for(lambda: self._read_to >= offset)
        except Unsettled as error:
            self._fail(error)
            raise Refusal(
                ErrorCode.STORE, "The broker was away, and the outcome of the write is not known; ask again"
            ) from error
        except Transient as error:
            _logger.warning("%s", error)
            raise Refusal(
                ErrorCode.TIMEOUT, "The broker did not take the record in time; nothing was changed"
            ) from error
        except Misconfigured as error:
            self._fail(error)
            raise Refusal(ErrorCode.FORWARDING, "Another registry writes now; ask that one") from error
        except Exception as error:
            # Whether the record was written is open: only reading the topic again can tell, so this process ends.
            self._fail(error)
            raise Refusal(ErrorCode.STORE, "The outcome of the write is not known; ask again") from error

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._ended.set()
