"""`mesh check` says of a MariaDB or MySQL what its tables could not hold, and of an address what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ops.lint.check import Problem, check
from schemas.wire.name import avro_name


def problems(root: Path, *, key_type: str = "", names: tuple[str, ...] = (), sink: str = "") -> list[Problem]:
    for code in ("aic", "customs"):
        (root / code).mkdir(exist_ok=True)
    (root / "aic" / "agency.yaml").write_text(
        'agency: aic\nname: 局\nsources: [{name: main, kind: postgres, connection: "${X}"}]\n'
    )
    tags = {"doc": "名", "confluent:tags": ["L1"]}
    fields: list[dict[str, Any]] = [
        {"name": "id", "type": "string", **tags, **({"pg.type": key_type} if key_type else {})}
    ]
    fields += [{"name": name, "type": ["null", "string"], "default": None, **tags} for name in names]
    gov = {"key": ["id"], "class": "UNCONDITIONAL"}
    record = {"type": "record", "name": "T", "doc": "表", "gov": gov, "fields": fields}
    (root / "aic" / "t.avsc").write_text(json.dumps(record, ensure_ascii=False))
    connection = sink or 'connection: "${Y}"'
    (root / "customs" / "subscriber.yaml").write_text(
        f"subscriber: customs\nname: 关\nsinks: [{{name: main, kind: mysql, {connection}}}]\n"
        f"grants:\n  - feed: aic.t\n    columns: [{', '.join(names)}]\n    purpose: 核验\n"
    )
    return [found for found in check(root).problems if "MySQL" in found.message or "address" in found.message]


def test_a_key_longer_than_an_index_is_warned_of(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, key_type="character varying(2000)", names=("name",))
    assert "3,072 bytes" in found.message
    assert "2000 characters" in found.message
    assert "by a view" in found.fix
    assert problems(tmp_path, key_type="character varying(768)", names=("name",)) == []
    assert problems(tmp_path) == [], "text without a bound: a longer one is a dead letter"


def test_names_that_would_be_one_or_too_long_are_warned_of(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, names=("name", "Name"))
    assert "in capitals and without" in found.message
    (found,) = problems(tmp_path, names=(avro_name("统" * 65),))
    assert "1 to 64 characters" in found.message
    assert problems(tmp_path, names=(avro_name("统" * 64),)) == []


def test_an_address_in_the_file_is_looked_at(tmp_path: Path) -> None:
    found = problems(tmp_path, sink='connection: "mysql://u:p@db.example/x?tls=off"')
    assert any("options that nobody knows: tls" in each.message and "ssl-mode" in each.fix for each in found)
    assert any("its address stands in the file" in each.message for each in found)
