"""Hash keys: the secret of each subscriber's HASH masks, one for all processes and hosts of a mesh.

Equal values have equal hashes for one subscriber only because everybody who hashes for it has the same key; with two keys a row
whose key column is hashed would be two rows. So nobody but onboarding makes one, once, exclusively. It lives where all
secrets live: in `<directory>/connections/<subscriber>.hash-key`, or in the environment as `MESH_CONNECTION_<SUBSCRIBER>_HASH_KEY`.
The subscriber's record says which key was agreed, by its fingerprint; a process with another one, or none, refuses.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable

from ops.settings import Connections, variable_of
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Grant, Mask
from schemas.errors import Misconfigured

NAME = "hash-key"
BYTES = 32


class HashKeys:
    """Gives the key of a subscriber, as `streams.egress.egress.HashKey`. Raises Misconfigured where it is missing or another."""

    def __init__(self, connections: Connections, directory: Callable[[], Directory]) -> None:
        self._connections = connections
        self._directory = directory

    def __call__(self, subscriber: str) -> bytes:
        """The key that was agreed for this subscriber."""
        entry = self._directory().subscribers.get(subscriber)
        return _agreed(self._connections, subscriber, entry.hash_key_id if entry else "")


def needs_key(grants: Iterable[Grant]) -> bool:
    """Whether any of a subscriber's grants hashes."""
    return any(Mask.HASH in grant.mask.values() for grant in grants)


def agree(connections: Connections, subscriber: str, agreed: str) -> str:
    """The fingerprint of the subscriber's key, which is made if there never was one. `agreed`: the one on record, or "".

    Raises Misconfigured when the key on record is not here.
    """
    if not agreed and _read(connections, subscriber) is None:
        connections.save_new(subscriber, NAME, secrets.token_hex(BYTES))
    return fingerprint(_agreed(connections, subscriber, agreed))


def fingerprint(key: bytes) -> str:
    """Says which key it is, and nothing else about it."""
    return hmac.digest(key, b"pearlmesh hash key", hashlib.sha256).hex()[:16]


def _agreed(connections: Connections, subscriber: str, agreed: str) -> bytes:
    key = _read(connections, subscriber)
    place = f"connections/{subscriber}.{NAME}"
    fix = f"copy {place} from the host where {subscriber} was onboarded, or set {variable_of(subscriber, NAME)} to its text"
    if key is None:
        raise Misconfigured(f"hash key of {subscriber}", f"is not here, in {connections.directory}", fix=fix)
    if agreed and fingerprint(key) != agreed:
        raise Misconfigured(f"hash key of {subscriber}", f"is another one than was agreed ({agreed})", fix=fix)
    return key


def _read(connections: Connections, subscriber: str) -> bytes | None:
    text = os.environ.get(variable_of(subscriber, NAME)) or connections.kept(subscriber, NAME)
    if not text:
        return None
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) < BYTES:
        fix = f"give {BYTES} random bytes or more as hexadecimal text"
        raise Misconfigured(f"hash key of {subscriber}", "is no key", fix=fix)
    return key
