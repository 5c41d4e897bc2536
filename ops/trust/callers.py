"""Callers: whoever has a token of the mesh's own processes, one that was issued, or one of the identity provider's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from ops.trust.oidc.provider import OidcProvider
from schemas.guard.caller import Caller
from schemas.guard.token import id_of, opens
from schemas.log.control.token_follower import TokenFollower

_TOKEN = "token "  # noqa: S105 -- what the name of a caller with a token begins with


class KnownCallers:
    """`schemas.guard.guard.Callers`. `own`: digest and caller of the tokens of this mesh's processes, by id; they need no Kafka."""

    def __init__(
        self, issued: TokenFollower, own: Mapping[str, tuple[bytes, Caller]], provider: OidcProvider | None
    ) -> None:
        self._issued = issued
        self._own = own
        self._provider = provider

    def caller(self, credential: str) -> Caller | None:
        """Whose credential it is; None for nobody's, or one that expired or was revoked. Raises Transient."""
        token_id = id_of(credential)
        if token_id in self._own:
            return self._own[token_id][1] if self.is_own(credential) else None
        if token_id:
            token = self._issued.token(token_id)
            is_right = opens(credential, token.digest if token else None)
            return token.caller() if token and is_right and token.state(datetime.now(UTC)) == "ACTIVE" else None
        if self._provider is None or credential.count(".") != 2:
            return None
        caller = self._provider.caller(credential)
        return caller if caller is not None and self.is_good(caller) else None

    def is_own(self, credential: str) -> bool:
        """Whether it is that of a process of this mesh."""
        known = self._own.get(id_of(credential))
        return known is not None and opens(credential, known[0])

    def is_good(self, caller: Caller) -> bool:
        """Whether nothing was revoked that somebody was let in with. Raises Transient."""
        if caller.name.startswith(_TOKEN):
            token = self._issued.token(caller.name.removeprefix(_TOKEN))
            return token is not None and token.state(datetime.now(UTC)) == "ACTIVE"
        if any(caller is known for _, known in self._own.values()):
            return True
        revoked_at = self._issued.revoked_at(caller.name)
        return (
            revoked_at is None or caller.since > revoked_at
        )  # of a revoked identity, what the provider gave later is good

    def close(self) -> None:
        """Follow nothing any more."""
        self._issued.close()
