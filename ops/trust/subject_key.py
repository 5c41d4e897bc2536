"""Subject key: under which the mesh's own records name a person, an organisation or a value, so that none of them is in clear there.

Made once, where it is first needed, and kept with the mesh's other secrets as `connections/mesh.subject-key`, or given as
`MESH_CONNECTION_MESH_SUBJECT_KEY`. Whoever runs the mesh on several machines copies it along: what was hashed under another key
is not found again. Destroyed, it makes all that was written under it nobody's.
"""

from __future__ import annotations

import hmac
import os
import secrets

from ops.settings import Connections, variable_of
from ops.trust.hash_key import fingerprint
from schemas.errors import Misconfigured

_OWNER, _NAME = "mesh", "subject-key"
BYTES = 32


class SubjectKey:
    """Hashes by HMAC-SHA256. `agreed`: the `id` of the key that something was hashed under already, which this must be then.

    Raises Misconfigured where the key that is there is none, or another than was agreed.
    """

    def __init__(self, connections: Connections, agreed: str = "") -> None:
        text = os.environ.get(variable_of(_OWNER, _NAME)) or connections.kept(_OWNER, _NAME)
        if not text and not agreed:
            connections.save_new(_OWNER, _NAME, secrets.token_hex(BYTES))
            text = connections.kept(_OWNER, _NAME)
        try:
            self._key = bytes.fromhex(text or "")
        except ValueError:
            self._key = b""
        if len(self._key) < BYTES:
            fix = f"give {BYTES} random bytes or more as hexadecimal text, in connections/{_OWNER}.{_NAME}"
            raise Misconfigured("subject key", "is no key", fix=fix)
        self.id = fingerprint(self._key)
        if agreed and self.id != agreed:
            fix = f"copy connections/{_OWNER}.{_NAME} from where it was made, or set {variable_of(_OWNER, _NAME)} to its text"
            raise Misconfigured("subject key", f"is another one than was agreed ({agreed})", fix=fix)

    def hash(self, *parts: str) -> str:
        """The hash of what the parts name together; none of them can be told from it."""
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.digest(self._key, text.encode("utf-8", "backslashreplace"), "sha256").hex()
