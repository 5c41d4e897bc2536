"""Identity (身份): by what one mesh knows another: an Ed25519 key, its fingerprint, and a statement signed with it.

Each mesh says on `mesh.identity` which key is its own and on which Kafka cluster it stands. The other side compares the key's
fingerprint with the anchor (锚) that a person uploaded there (schemas/agreement/anchor.py); an address and a password say less, for
they also lead to a copy of a mesh. The key format is RFC 8032's: 32 bytes, signatures of 64.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from schemas.errors import Misconfigured

STATEMENT_KEY = "identity"
"""The key of the one record on `mesh.identity`."""


def fingerprint_of(public_key: bytes) -> str:
    """SHA-256 of the 32 bytes of a public key, in 64 hexadecimal digits."""
    return hashlib.sha256(public_key).hexdigest()


def pem_of(public_key: bytes) -> str:
    """A public key as other programs read it (SubjectPublicKeyInfo, PEM)."""
    key = Ed25519PublicKey.from_public_bytes(public_key)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def public_key_of(pem: bytes, where: str) -> bytes:
    """The 32 bytes of the public key in a PEM text; lines around it are allowed. Raises Misconfigured naming `where`."""
    fix = "give the file that `mesh identity` of the other mesh printed"
    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise Misconfigured(where, "holds no public key in PEM form", fix=fix) from error
    if not isinstance(key, Ed25519PublicKey):
        raise Misconfigured(where, "its key is not of the kind Ed25519", fix=fix)
    return key.public_bytes_raw()


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a mesh says of itself. `cluster` is its Kafka cluster's id, `issued_at` ISO 8601 in UTC."""

    public_key: bytes
    cluster: str
    issued_at: str
    signature: bytes

    @property
    def fingerprint(self) -> str:
        """Of the key that it names."""
        return fingerprint_of(self.public_key)

    @property
    def is_genuine(self) -> bool:
        """Whether the holder of the key that it names signed exactly this."""
        try:
            key = Ed25519PublicKey.from_public_bytes(self.public_key)
            key.verify(self.signature, _signed(self.public_key, self.cluster, self.issued_at))
        except (InvalidSignature, ValueError):
            return False
        return True

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.identity`."""
        return {
            "public_key": self.public_key.hex(),
            "cluster": self.cluster,
            "issued_at": self.issued_at,
            "signature": self.signature.hex(),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Statement:
        """Read a record of `mesh.identity`, later versions' further fields left out. Raises Misconfigured."""
        try:
            return cls(
                public_key=bytes.fromhex(record["public_key"]),
                cluster=str(record["cluster"]),
                issued_at=str(record["issued_at"]),
                signature=bytes.fromhex(record["signature"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            fix = "let the other mesh announce itself again: `mesh identity` there"
            raise Misconfigured("the statement on mesh.identity", "cannot be read", fix=fix) from error


def _signed(public_key: bytes, cluster: str, issued_at: str) -> bytes:
    # A purpose of its own: the key signs nothing else that could be taken for a statement.
    return json.dumps(["pearlmesh identity 1", public_key.hex(), cluster, issued_at]).encode()


@dataclass(frozen=True, slots=True)
class Identity:
    """A mesh's own key; `secret` is 32 bytes."""

    secret: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Identity:
        """A fresh key."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw()

    @property
    def fingerprint(self) -> str:
        """What others upload as an anchor is told apart by this."""
        return fingerprint_of(self.public_key)

    def state(self, cluster: str, issued_at: str) -> Statement:
        """A signed statement."""
        public_key = self.public_key
        signature = Ed25519PrivateKey.from_private_bytes(self.secret).sign(_signed(public_key, cluster, issued_at))
        return Statement(public_key=public_key, cluster=cluster, issued_at=issued_at, signature=signature)
