"""Instance: what a process of a hop is called within its consumer group, on whatever host."""

from __future__ import annotations

import socket
from hashlib import blake2b
from pathlib import Path


def instance_of(name: str, directory: Path, host: str = "") -> str:
    """The id of the process of this name: the same at every start, another one on another host or in another directory.

    Two living members of one id throw each other out of their group without end, and two hosts that start the same hop both
    call it by the hop's name.
    """
    place = f"{host or socket.gethostname()}:{directory.absolute()}"
    return f"{name}-{blake2b(place.encode(), digest_size=4).hexdigest()}"
