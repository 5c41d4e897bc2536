"""A walsender's connection: what the server sends, how far we tell it that we have come, and whether both are alive."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable
from typing import NoReturn

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGconn

from producers.postgresql.link.link import check, failure
from producers.postgresql.stream import pgoutput
from schemas.errors import Transient

STATUS_SECONDS = 5.0
SILENCE_SECONDS = 10.0  # after so long we ask for a sign of life, after twelve times that we give up (PG-07, PG-12)

_logger = logging.getLogger(__name__)


class Walsender:
    """Reading belongs to one thread; a second one keeps the connection alive while the reader is held back.

    `confirmed` returns the position that may be told to the server: durable downstream, and stored as our own (PG-04).
    """

    def __init__(self, connection: PGconn, name: str, confirmed: Callable[[], int]) -> None:
        self.get_copy_data = connection.get_copy_data
        """One message that has been taken in; the stream calls it for each."""
        self._connection = connection
        self._name = name
        self._confirmed = confirmed
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(connection.socket, select.POLLIN)
        self._heard_at = self._told_at = time.monotonic()
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive, name=f"status {name}", daemon=True)

    def start(self, slot: str, publication: str, since: int) -> None:
        """Start streaming at a commit end (PG-02). Raises Transient while another process streams from the slot."""
        result = self._connection.exec_(
            f"START_REPLICATION SLOT {slot} LOGICAL {pgoutput.lsn_text(since)} "
            f"(proto_version '1', publication_names '{publication}', binary 'true')".encode()
        )
        check(result, self._name)
        self._connection.nonblocking = 1
        self._keeper.start()

    def close(self) -> None:
        """Send a last status (PG-08) and hang up."""
        self._closing.set()
        if self._keeper.is_alive():
            self._keeper.join()
        if self._connection.status == pq.ConnStatus.OK:
            try:
                self.tell()
            except (Transient, psycopg.Error) as error:
                _logger.debug("%s: no last status: %s", self._name, error)
        self._connection.finish()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, take: Callable[[], int]) -> None:
        """Let `take` read, alone, and say how many messages there were. Raises Transient for a server that is silent for long."""
        with self._lock:
            now = time.monotonic()
            if now - self._told_at > STATUS_SECONDS:
                self.tell(wants_reply=now - self._heard_at > SILENCE_SECONDS)
            try:
                messages = take()
            except psycopg.Error as error:
                raise failure(error, self._name) from error
            if messages:
                self._heard_at = now
            elif now - self._heard_at > 12 * SILENCE_SECONDS:
                raise Transient(f"source {self._name}: the database has been silent for {now - self._heard_at:.0f} s")

    def is_readable(self, within_seconds: float) -> bool:
        """Whether the server has sent something, after waiting for it."""
        return bool(self._poll.poll(max(0, int(within_seconds * 1000))))

    def take_in(self) -> None:
        """Take in what the server has sent."""
        self._connection.consume_input()

    def ended(self) -> NoReturn:
        """The server ended the stream: raise why."""
        result = self._connection.get_result()
        if result is not None:
            check(result, self._name)
        raise Transient(f"source {self._name}: the database ended the stream")

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self) -> None:
        """Make the server say how far it has come, at most every half second."""
        if time.monotonic() - self._told_at > 0.5:
            with self._lock:
                self.tell(wants_reply=True)

    def tell(self, *, wants_reply: bool = False) -> None:
        """Send the confirmed position (PG-01, PG-06). Not while another thread reads: within `read`, or after it."""
        now_micros = time.time_ns() // 1000 - pgoutput.EPOCH_MILLIS * 1000
        try:
            self._connection.put_copy_data(pgoutput.status(self._confirmed(), now_micros, wants_reply=wants_reply))
            while self._connection.flush():
                self._poll_out()
        except psycopg.Error as error:
            raise failure(error, self._name) from error
        self._told_at = time.monotonic()

    def _poll_out(self) -> None:
        writable = select.poll()
        writable.register(self._connection.socket, select.POLLOUT | select.POLLIN)
        if not writable.poll(10_000):
            raise Transient(f"source {self._name}: the database does not take our status")
        self._connection.consume_input()

    def _keep_alive(self) -> None:
        """PG-06: the status goes out also while the reader is held back by the broker."""
        while not self._closing.wait(1.0):
            if time.monotonic() - self._told_at > 2 * STATUS_SECONDS and self._lock.acquire(timeout=1.0):
                try:
                    self.tell()
                except Transient as error:
                    _logger.warning("%s", error)  # the reader meets the same broken connection and raises
                    return
                finally:
                    self._lock.release()
