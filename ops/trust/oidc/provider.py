"""Provider: tells from a token that an identity provider signed who came with it, and what they are here (RFC 9068, RFC 8725)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jwt

from ops.trust.oidc.keys import ProviderKeys
from ops.trust.oidc.settings import OidcSettings
from schemas.guard.caller import Caller, Right

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Public keys alone: with a shared secret the provider's public key could be taken for one."""
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})


class OidcProvider:
    """Any thread may ask."""

    def __init__(self, settings: OidcSettings, keys: ProviderKeys) -> None:
        self._settings = settings
        self._keys = keys

    def caller(self, token: str) -> Caller | None:
        """Whoever came with it; None where it gives nothing. Raises Transient."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm, key_id = header.get("alg"), header.get("kid")
            if algorithm not in ALGORITHMS or not isinstance(key_id, str):
                return None
            if str(header.get("typ", "jwt")).lower() not in _TYPES:
                return None
            key = self._keys.key(key_id)
            if key is None or key.algorithm_name != algorithm:
                return None  # a key is for one algorithm: its `alg`, or its kind's usual one
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.skew_seconds,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        rights = tuple(self._rights(claims))
        if not rights:
            return None
        name = f"oidc {claims['sub']}"[:200]
        since, until = float(claims["iat"]), float(claims["exp"]) + self._settings.skew_seconds
        return Caller(name=name, rights=rights, since=since, until=until)

    def _rights(self, claims: Mapping[str, Any]) -> Iterator[Right]:
        named = frozenset(_words(_at(claims, self._settings.agency_claim)))
        for word in dict.fromkeys(_words(_at(claims, self._settings.role_claim))):
            if meaning := self._settings.meanings.get(word):
                agencies = named if meaning.agencies is None else meaning.agencies
                yield Right(role=meaning.role, agencies=agencies)


def _at(claims: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = claims
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _words(value: Any) -> Iterable[str]:
    """A claim that may be a list, or one text with blanks between."""
    if isinstance(value, str):
        return value.split()
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
