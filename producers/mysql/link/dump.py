"""The end of a server's binary log: asked for like a replica asks, read packet by packet.

MariaDB's own protocol: the session says by which transactions it stands (`@slave_connect_state`), registers, and asks for the log.
While nothing happens the server sends a heartbeat; a link that is silent for many of them is dead (MY-11: a half-open socket would
look like a quiet database for ever).
"""

from __future__ import annotations

import select
import struct
import time
from typing import Any

import pymysql

from producers.mysql.link.connection import asked, connect_mysql
from producers.mysql.link.fault import LOG_READ_FAILED, log_lost, mysql_translated
from schemas.errors import Transient

HEARTBEAT_SECONDS = 0.4
SILENT_SECONDS = 60.0
_REGISTER, _DUMP = 0x15, 0x12
_WHOLE = 0xFFFFFF
_READ_BYTES = 1 << 18


class Dump:
    """An open dump of the log behind the transactions `gtids`, such as `0-1-42`. Used by one thread."""

    def __init__(self, address: str, *, name: str, replica_id: int, gtids: str) -> None:
        self._name = name
        self._connection: pymysql.Connection[Any] = connect_mysql(address, name=name)
        self._buffer = bytearray()
        self._at = 0
        self._is_ended = False
        try:
            with mysql_translated(name):
                self._ask(replica_id, gtids)
        except BaseException:
            self._connection.close()
            raise
        self._heard_at = time.monotonic()

    def _ask(self, replica_id: int, gtids: str) -> None:
        connection = self._connection
        driver: Any = connection  # PyMySQL has no names of its own for a replica's commands
        asked(connection, "SET @mariadb_slave_capability=4, @master_binlog_checksum=@@global.binlog_checksum")
        asked(connection, "SET @master_heartbeat_period=%s", (int(HEARTBEAT_SECONDS * 1e9),))
        asked(
            connection,
            "SET @slave_connect_state=%s, @slave_gtid_strict_mode=1, @slave_gtid_ignore_duplicates=0",
            (gtids,),
        )
        host = f"mesh {self._name}".encode()[:60]
        said = struct.pack("<IB", replica_id, len(host)) + host + b"\0\0" + struct.pack("<HII", 0, 0, 0)
        driver._execute_command(_REGISTER, said)
        driver._read_ok_packet()
        driver._execute_command(_DUMP, struct.pack("<IHI", 4, 0, replica_id))
        self._socket: Any = driver._sock
        self._socket.setblocking(False)

    def wait(self, seconds: float) -> bool:
        """Take in what has come; whether there is anything. Raises Transient for a link that has died."""
        got = self._receive()
        if not got and seconds > 0:
            select.select([self._socket], [], [], seconds)
            got = self._receive()
        now = time.monotonic()
        if got:
            self._heard_at = now
        elif self._is_ended:  # only now: before it hangs up it may have said why
            raise Transient(f"source {self._name}: the server has closed the connection")
        elif now - self._heard_at > SILENT_SECONDS:
            raise Transient(f"source {self._name}: the server has been silent for {SILENT_SECONDS:g} s")
        return got

    def _receive(self) -> bool:
        got = False
        del self._buffer[: self._at]
        self._at = 0
        try:
            while len(self._buffer) < _READ_BYTES or not self._is_whole():
                part = self._socket.recv(_READ_BYTES)
                if not part:
                    self._is_ended = True
                    break
                self._buffer += part
                got = True
        except (BlockingIOError, TimeoutError):
            pass
        except OSError as error:
            if type(error).__name__ in {"SSLWantReadError", "SSLWantWriteError"}:
                return got
            raise Transient(f"source {self._name}: its connection was lost ({type(error).__name__})") from error
        return got

    def _is_whole(self) -> bool:
        return len(self._buffer) >= 4 and len(self._buffer) >= 4 + int.from_bytes(self._buffer[:3], "little")

    def event(self) -> bytes | None:
        """The next event that has come whole; None if there is none yet. Raises ContractBroken where the log is gone, Transient."""
        buffer, at = self._buffer, self._at
        parts: list[bytes] = []
        while True:
            if len(buffer) < at + 4:
                return None
            size = int.from_bytes(buffer[at : at + 3], "little")
            if len(buffer) < at + 4 + size:
                return None
            parts.append(bytes(buffer[at + 4 : at + 4 + size]))
            at += 4 + size
            if size < _WHOLE:
                break
        self._at = at
        packet = parts[0] if len(parts) == 1 else b"".join(parts)
        if packet[0] == 0:
            return packet[1:]
        if packet[0] == 0xFF:
            number = int.from_bytes(packet[1:3], "little")
            text = (
                packet[9:].decode("utf-8", "replace") if packet[3:4] == b"#" else packet[3:].decode("utf-8", "replace")
            )
            if number == LOG_READ_FAILED:
                raise log_lost(self._name, text)
            raise Transient(f"source {self._name}: the server ends the log (error {number})")
        raise Transient(f"source {self._name}: the server has ended the log")

    def close(self) -> None:
        """Hang up."""
        driver: Any = self._connection
        driver._force_close()
