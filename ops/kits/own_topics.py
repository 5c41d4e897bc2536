"""A kit for a sink whose topics its subscriber reads itself: Python, Java, Flink SQL; the login was handed over apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.kits import flink
from ops.kits.readable import Readable
from ops.own_topic.logins import SCRAM, file_name
from ops.settings import Settings
from ops.watch.lag import delivery_group
from schemas.agreement.directory import GrantEntry
from schemas.registry.address import RegistryAddress
from schemas.wire.envelope import out_value_schema

PROGRAMS = Path(__file__).parent / "programs"
_HANDED_OUT = {
    "python/read.py": "read.py",
    "python/requirements.txt": "requirements.txt",
    "java/pom.xml": "pom.xml",
    "java/src/main/java/Read.java": "Read.java",
}


def files(readable: Readable, settings: Settings) -> dict[str, str]:
    """The files of the kit, by their places in it."""
    about = _about(readable, settings)
    connected = flink.connection(
        brokers=about["brokers"],
        security=about["security"],
        group=f"{about['group']}.flink",
        login_file=f"/path/to/{about['login_file']}",
        registry=about["registry"],
        uses_tls=settings.kafka.uses_tls,
    )
    return {
        "README.md": _readme(readable, about, is_guarded=settings.is_guarded),
        "kit.json": json.dumps(about, ensure_ascii=False, indent=2) + "\n",
        "flink/feeds.sql": flink.statements(readable, connected),
        **{place: (PROGRAMS / name).read_text("utf-8") for place, name in _HANDED_OUT.items()},
    }


def _about(readable: Readable, settings: Settings) -> dict[str, Any]:
    subscriber, sink = readable.subscriber, readable.sink
    return {
        "subscriber": subscriber.subscriber,
        "name": subscriber.name,
        "sink": sink.name,
        "brokers": settings.kafka_sasl or settings.kafka.bootstrap,
        "security": "SASL_SSL" if settings.kafka.uses_tls else "SASL_PLAINTEXT",
        "mechanism": SCRAM,
        "login_file": f"{subscriber.subscriber}.{file_name(sink.name)}",
        "group": delivery_group(subscriber.subscriber, sink.name),
        "registry": RegistryAddress.parse(settings.registry).url,
        "ends": readable.ends,
        "topics": {entry.topic: _topic(readable, entry) for entry in readable.entries},
    }


def _topic(readable: Readable, entry: GrantEntry) -> Mapping[str, Any]:
    grant, contract = entry.grant, readable.contract(entry)
    row = out_value_schema(contract, grant)["fields"][0]["type"][1]
    return {
        "feed": grant.feed,
        "title": contract.doc,
        "grant": grant.grant_id,
        "purpose": grant.purpose,
        "until": grant.valid_to.isoformat() if grant.valid_to else None,
        "key": list(contract.key),
        "columns": [field["name"] for field in row["fields"]],
    }


def plain(text: str) -> str:
    """A text of somebody else's within a document: one line, and no mark of its own."""
    return "".join(char if char.isprintable() and char not in "`|<>[]*_\\" else " " for char in text)


def _readme(readable: Readable, about: Mapping[str, Any], *, is_guarded: bool) -> str:
    topics = [
        f"| `{topic}` | {plain(each['title'])} | {', '.join(f'`{name}`' for name in each['columns'])} | {plain(each['purpose'])} |"
        for topic, each in about["topics"].items()
    ]
    token = (
        "The registry asks for a token of the role `subscriber`: put it into the environment variable `MESH_TOKEN`."
        if is_guarded
        else "The registry asks for no token; where it does later, put that into the environment variable `MESH_TOKEN`."
    )
    return f"""# What {readable.name} reads itself ({plain(about["name"])})

| topic | what it is | columns | purpose |
|---|---|---|---|
{chr(10).join(topics)}

Changes come in Debezium's shape (`before`, `after`, `op` c, u, d, r, t) as Avro, the changes of a key in order, each
at least once with a position (`source.sequence`) that never changes: skip what is not newer than what you have of a
key. `{about["ends"]}` tells the end of a grant (`reason` GRANT_ENDED); its topic closes within seconds. A grant that
is added or changed later needs another kit: `mesh kit`.

## Secrets

None is in this kit. The login is the file `{about["login_file"]}` that was handed to you when the subscription was
onboarded: put it here, beside this file, mode 0600. It names the brokers as well. {token} An authority that signed
the servers' certificates goes to `ssl.ca.location` in that file, and for the registry to `MESH_CA` (Python) or the
JVM's trust store.

## Python

```sh
python3 -m venv venv && venv/bin/pip install -r python/requirements.txt
venv/bin/python python/read.py --trial --count 10     # looks, and confirms nothing
venv/bin/python python/read.py                        # reads on where it was, and confirms what it printed
```

## Java (17 or newer)

```sh
cd java && mvn -q compile exec:java -Dexec.args=".. 10"
```

## Flink SQL

`flink/feeds.sql` says at its head what it needs. A table of it is a changelog of the rows as they stand.

## Whose word counts

What the group `{about["group"]}` commits is what you have confirmed; the mesh shows the rest as lag. Run Python and
Java, or several of one, in that group and they share the partitions. Groups whose names go on behind a dot
(`{about["group"]}.trial`) count for nothing.
"""
