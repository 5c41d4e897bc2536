"""What may stand under `options` of a sink of kind `sftp`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from schemas.form import Written, needed
from sinks.drops.options import DropOptions
from sinks.sink import SecretName

PASSWORD = "password"  # noqa: S105 -- its name
PRIVATE_KEY = "private_key"
_KEY = re.compile(r"(?:ssh|ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]{40,}={0,3}(?: [^\n]*)?")
_WORDS = "a public key such as `ssh-ed25519 AAAA...`, which `ssh-keyscan HOST` prints behind the host's name"


def _host_key(value: Any) -> str:
    lines = value.strip().splitlines() if isinstance(value, str) else []
    if not lines or not all(_KEY.fullmatch(line.strip()) for line in lines):
        raise ValueError
    return "\n".join(line.strip() for line in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpOptions(DropOptions):
    """`host_key`: the server's public key, one or more, a line each; another server is not spoken to.

    `address`: the name of the secret with the address, the sink's own name if empty.
    """

    host_key: Annotated[str, Written(_host_key, _WORDS)] = needed(
        "whoever answered in the server's place would be given the rows",
        "ask the server's operator, or compare with him what `ssh-keyscan HOST` prints, and add `host_key: ssh-ed25519 AAAA...`",
    )
    address: SecretName = ""
