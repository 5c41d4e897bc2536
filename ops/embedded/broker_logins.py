"""The embedded broker's logins: who may log in on its own listeners, and by which password."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from ops.host.private import write_private

ADMIN = "mesh"
"""As whom commands act: it may do everything."""
BROKER = "broker"
"""As whom the broker enters itself."""


class BrokerLogins:
    """`ADMIN`, the broker itself and these users; their passwords are minted here and kept where only who runs this reads."""

    def __init__(self, file: Path, users: Iterable[str] = ()) -> None:
        self._file = file
        self.users = (ADMIN, *users)

    def password_of(self, user: str) -> str:
        """A user's password, which stays the same over restarts."""
        return self._passwords()[user]

    def jaas(self, *users: str) -> str:
        """Who may log in on a listener, the broker to itself among them, as Java's login module reads it."""
        known = self._passwords()
        entries = "".join(f' user_{user}="{known[user]}"' for user in users)
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return f'{module} required username="{BROKER}" password="{known[BROKER]}"{entries};'

    def _passwords(self) -> Mapping[str, str]:
        known: dict[str, str] = json.loads(self._file.read_text("utf-8")) if self._file.exists() else {}
        if lacking := {BROKER, *self.users} - known.keys():
            known |= {user: secrets.token_urlsafe(24) for user in sorted(lacking)}
            write_private(self._file, json.dumps(known))
        return known
