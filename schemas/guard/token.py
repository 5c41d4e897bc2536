"""Token: what an admin issues to somebody, shown once; of its text the mesh keeps a digest alone, on `mesh.tokens`.

The text has 256 random bits behind the id, so that a plain SHA-256 of it is as good as unguessable.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from schemas.guard.caller import Caller, Right, Role

_TEXT = re.compile(r"mesh_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NOBODY_S = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One that was issued. `name`: whose it is, for people; `expires_at` None: never."""

    id: str
    digest: bytes = field(repr=False)
    role: Role
    agencies: frozenset[str]
    name: str
    issued_at: datetime
    issued_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """ACTIVE, EXPIRED or REVOKED."""
        if self.revoked_at is not None:
            return "REVOKED"
        return "EXPIRED" if self.expires_at is not None and self.expires_at <= now else "ACTIVE"

    def caller(self) -> Caller:
        """Whoever has it."""
        until = self.expires_at.timestamp() if self.expires_at else float("inf")
        right = Right(role=self.role, agencies=self.agencies)
        return Caller(name=f"token {self.id}", rights=(right,), until=until)

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.tokens`, whose key is the id."""
        return {**self.shown(), "digest": self.digest.hex()}

    def shown(self) -> dict[str, Any]:
        """What may be seen of it."""
        return {
            "id": self.id,
            "role": self.role.value,
            "agencies": sorted(self.agencies),
            "name": self.name,
            "issued_at": self.issued_at.isoformat(),
            "issued_by": self.issued_by,
            "expires_at": self.expires_at and self.expires_at.isoformat(),
            "revoked_at": self.revoked_at and self.revoked_at.isoformat(),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Token:
        """Read a record of `mesh.tokens`. Raises ValueError, KeyError or TypeError for one that is none."""

        def moment(name: str) -> datetime | None:
            return datetime.fromisoformat(record[name]) if record[name] else None

        digest = bytes.fromhex(record["digest"])
        if len(digest) != len(_NOBODY_S):
            raise ValueError("the digest is none")
        return cls(
            id=record["id"],
            digest=digest,
            role=Role(record["role"]),
            agencies=frozenset(map(str, record["agencies"])),
            name=record["name"],
            issued_at=datetime.fromisoformat(record["issued_at"]),
            issued_by=record["issued_by"],
            expires_at=moment("expires_at"),
            revoked_at=moment("revoked_at"),
        )


def new_text(token_id: str = "") -> tuple[str, str]:
    """The id and the text of a new token."""
    token_id = token_id or secrets.token_hex(6)
    return token_id, f"mesh_{token_id}_{secrets.token_urlsafe(32)}"


def digest_of(text: str) -> bytes:
    """What is kept of a token's text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def id_of(text: str) -> str:
    """The id within a token's text; empty where it is no token's."""
    found = _TEXT.fullmatch(text)
    return found[1] if found else ""


def opens(text: str, digest: bytes | None) -> bool:
    """Whether the text is that of this digest; takes as long where there is none, or another."""
    return hmac.compare_digest(digest_of(text), digest or _NOBODY_S) and digest is not None
