"""A kit for a live feed: `curl`, with a token that was handed over apart."""

from __future__ import annotations

import shlex
from pathlib import Path

from ops.kits.own_topics import plain
from ops.kits.readable import Readable

PROGRAMS = Path(__file__).parent / "programs"


def files(readable: Readable) -> dict[str, str]:
    """The files of the kit, by their places in it. Raises Misconfigured for an address that is none."""
    return {
        "README.md": _readme(readable),
        "kit.env": f"# Where the live feed of {readable.name} is; no secret.\nKIT_URL={shlex.quote(readable.address)}\n",
        **{name: (PROGRAMS / name).read_text("utf-8") for name in ("follow.sh", "acknowledge.sh")},
    }


def _readme(readable: Readable) -> str:
    feeds = [
        f"| `{entry.grant.delivered_as}` | {plain(readable.contract(entry).doc)} | {plain(entry.grant.purpose)} |"
        for entry in readable.entries
    ]
    return f"""# The live feed of {readable.name} ({plain(readable.subscriber.name)})

| feed | what it is | purpose |
|---|---|---|
{chr(10).join(feeds)}

```sh
./follow.sh                 # prints each change as a line of JSON; Ctrl-C ends it, and it goes on where it was
./acknowledge.sh            # says that you have what was printed for good: it counts as delivered
```

They need a POSIX shell and `curl` 7.76 or newer. The address is {readable.address}; where you reach it by another
one, such as a gateway's, put that into `MESH_URL`.

No secret is in this kit. The token was chosen when the subscription was onboarded (`token:` of the sink): put it into
`MESH_TOKEN`, or into the file `token` in this folder, mode 0600.

The first time the feed begins with everything that stands. Each change comes at least once, those of a key in order;
`op` is c, u, d, r or t, and a `t` empties the feed, or says with `reason` GRANT_ENDED that its grant is over. `410`
says that a position is too old: remove the file `position`, and begin with an empty copy. Changes can also be taken
one by one and acknowledged singly: `GET /v1/changes`, `POST /v1/ack`.
"""
