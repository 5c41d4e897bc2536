"""Folders of agencies (机构) and subscribers (订阅方): the files in which a city is written down, and how they are loaded.

`agency.yaml`, with one `<table>.avsc` beside it per table; the feed is `<agency>.<file stem>`:

    agency: aic
    name: 工商行政管理局
    name_en: Administration for Industry and Commerce
    contact: data@example.gov
    sources:
      - {name: main, kind: postgres, connection: "${MESH_AIC_DSN}", options: {}}

`subscriber.yaml`; a grant's id is `<subscriber>.<feed>` unless it gives another:

    subscriber: customs
    name: 广州海关
    sinks:
      - {name: main, kind: postgres, connection: "${MESH_CUSTOMS_DSN}", options: {}, delivery: {quiet: "22:00-06:00"}}
      - {name: notify, kind: webhook, connection: "${MESH_CUSTOMS_URL}", signing_key: "${MESH_CUSTOMS_KEY}"}
    grants:
      - feed: aic.enterprise
        columns: [ent_id, uscc, name, status]
        row_filter: status != 'MOVED_OUT'
        mask: {legal_rep_id: HASH}
        purpose: 报关单位核验
        matter_code: "440100-HG-01"
        legal_basis: 示例依据
        valid_from: 2026-01-01
        sink: main

A connection names an environment variable, `${NAME}`, and never travels further than the loader's caller: it is kept apart
from what goes to the control topics (SE-04). A date without time means its midnight in Asia/Shanghai (HANDBOOK §2.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ops.kinds.sinks import secrets_of
from ops.lint.folder_form import GrantForm
from ops.lint.located import Located, Unreadable, read_json, read_yaml
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import SinkConfig, Subscriber
from schemas.contract import Contract
from schemas.errors import Misconfigured
from schemas.form import read as read_form

AGENCY_FILE = "agency.yaml"
SUBSCRIBER_FILE = "subscriber.yaml"
SHANGHAI = ZoneInfo("Asia/Shanghai")

_GRANT_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("grant_id", "row_filter", "purpose", "matter_code", "legal_basis", "sink", "status"), str),
    **dict.fromkeys(("valid_from", "valid_to"), (str, date)),
    "mask": Mapping,
}

CODE = re.compile(r"[a-z][a-z0-9_]*")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencyFolder:
    """An agency's folder. `connections`: source name to its connection as written."""

    path: Path
    agency: Agency
    contracts: Sequence[Contract]
    connections: Mapping[str, str] = field(repr=False)

    @property
    def captured(self) -> Sequence[Contract]:
        """The contracts of tables; the others' feeds are written by flows."""
        flows = {source.name for source in self.agency.sources if source.is_flow}
        return [contract for contract in self.contracts if contract.source not in flows]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberFolder:
    """A subscriber's folder. `connections`: sink name to its connection as written, `<sink>.<secret>` to its other secrets."""

    path: Path
    subscriber: Subscriber
    grants: Sequence[Grant]
    connections: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """All agencies and subscribers below one folder, sorted by path."""

    agencies: Sequence[AgencyFolder]
    subscribers: Sequence[SubscriberFolder]


def load(folder: Path) -> Folder:
    """Load a folder of one agency, one subscriber, or of many. Raises Misconfigured at the first problem.

    `ops.lint.check.check` explains all problems at once; load what it found good.
    """
    agencies = [_agency(path) for path in found(folder, AGENCY_FILE)]
    subscribers = [_subscriber(path) for path in found(folder, SUBSCRIBER_FILE)]
    if not agencies and not subscribers:
        raise Misconfigured(
            str(folder),
            f"holds neither {AGENCY_FILE} nor {SUBSCRIBER_FILE}",
            fix="name the folder of an agency, of a subscriber, or one that holds many of them; `mesh draft` writes one",
        )
    return Folder(agencies=agencies, subscribers=subscribers)


def found(folder: Path, name: str) -> list[Path]:
    """The files of that name in the folder and below it, sorted."""
    return sorted(folder.rglob(name))


def contract_files(agency_file: Path) -> list[Path]:
    """The contracts beside an agency's file, sorted."""
    return sorted(agency_file.parent.glob("*.avsc"))


def read(path: Path) -> Located:
    """Read a JSON (`.avsc`) or YAML file with its lines. Raises Unreadable."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable("is not UTF-8", 1, 1) from error
    return read_json(text) if path.suffix == ".avsc" else read_yaml(text)


def agency_of(record: Any) -> tuple[Agency, dict[str, str]]:
    """The agency in a parsed file, and its connections by source. Raises Misconfigured."""
    record = _mapping(record, AGENCY_FILE, {"agency", "name", "name_en", "contact", "classification", "sources"})
    code = _code(record, "agency")
    sources, connections = _ends(record, "sources", f"agency {code}")
    agency = Agency(
        agency=code,
        name=str(record.get("name") or code),
        name_en=str(record.get("name_en") or ""),
        contact=str(record.get("contact") or ""),
        classification=str(record.get("classification") or ""),
        sources=tuple(SourceConfig(**source) for source in sources),
    )
    return agency, connections


def subscriber_of(record: Any) -> tuple[Subscriber, dict[str, str]]:
    """The subscriber in a parsed file, and its connections by sink. Raises Misconfigured."""
    record = _mapping(record, SUBSCRIBER_FILE, {"subscriber", "name", "sinks", "grants"})
    code = _code(record, "subscriber")
    sinks, connections = _ends(record, "sinks", f"subscriber {code}")
    name = str(record.get("name") or code)
    return Subscriber(subscriber=code, name=name, sinks=tuple(SinkConfig(**sink) for sink in sinks)), connections


def grant_of(record: Any, subscriber: str) -> Grant:
    """One entry of a subscriber's `grants`. Raises Misconfigured."""
    if not isinstance(record, Mapping) or not isinstance(record.get("feed"), str):
        raise Misconfigured(f"a grant of {subscriber}", "names no feed", fix="add `feed: <agency>.<table>`")
    read_form(GrantForm, record, f"grant of {record['feed']} to {subscriber}", "field of a grant")
    grant_id = record.get("grant_id") or f"{subscriber}.{record['feed']}"
    if not isinstance(record.get("columns"), list):
        raise Misconfigured(
            f"grant {grant_id}",
            "does not list its columns",
            fix="list each column by name; there is no sign for all of them, so that a column added later reaches nobody "
            "until somebody grants it",
        )
    for name, kind in _GRANT_TYPES.items():
        if record.get(name) is not None and not isinstance(record[name], kind):
            words = "a text" if kind is str else "an object of names and values" if kind is Mapping else "a date"
            raise Misconfigured(
                f"grant {grant_id}", f"its {name} is not {words}", fix=f"write {words} there, in quotes if need be"
            )
    if not all(isinstance(column, str) for column in record["columns"]):
        raise Misconfigured(
            f"grant {grant_id}", "a column is no text", fix="write the columns' names, in quotes if need be"
        )
    values = {name: value for name, value in record.items() if value is not None}
    values |= {"grant_id": grant_id, "subscriber": subscriber}
    for end in ("valid_from", "valid_to"):
        moment = values.get(end)
        if isinstance(moment, str):
            moment = _moment(moment, f"grant {grant_id}")
        if isinstance(moment, date) and not isinstance(moment, datetime):
            moment = datetime(moment.year, moment.month, moment.day, tzinfo=SHANGHAI)
        if moment is not None:
            values[end] = moment
    return Grant.from_json(values)


def variable_of(connection: str) -> str | None:
    """The environment variable that a connection names; None when it is a literal address."""
    match = VARIABLE.fullmatch(connection)
    return match[1] if match else None


def resolved(connection: str, environment: Mapping[str, str], owner: str) -> str:
    """A connection's address. Raises Misconfigured when the environment does not hold it."""
    variable = variable_of(connection)
    if variable is None:
        return connection
    if not environment.get(variable):
        fix = f"export {variable}=<address>, or keep it in the connections folder of the mesh's directory"
        raise Misconfigured(owner, f"its connection ${{{variable}}} is not in the environment", fix=fix)
    return environment[variable]


def _agency(path: Path) -> AgencyFolder:
    agency, connections = agency_of(_value(path))
    contracts = [Contract.parse(_value(file), f"{agency.agency}.{file.stem}") for file in contract_files(path)]
    return AgencyFolder(path=path.parent, agency=agency, contracts=contracts, connections=connections)


def _subscriber(path: Path) -> SubscriberFolder:
    record = _value(path)
    subscriber, connections = subscriber_of(record)
    grants = [grant_of(grant, subscriber.subscriber) for grant in record.get("grants") or ()]
    return SubscriberFolder(path=path.parent, subscriber=subscriber, grants=grants, connections=connections)


def _value(path: Path) -> Any:
    try:
        value = read(path).value
    except Unreadable as error:
        place = f"{path}:{error.line}:{error.column}"
        raise Misconfigured(place, str(error), fix="correct the text there; `mesh check` explains more") from error
    if not isinstance(value, Mapping):
        raise Misconfigured(str(path), "is no object of names and values", fix="see ops/lint/folder.py for the format")
    return value


def _mapping(record: Any, what: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise Misconfigured(what, "is no object of names and values", fix="see ops/lint/folder.py for the format")
    if unknown := sorted(map(str, set(record) - known)):
        raise Misconfigured(what, f"has unknown entries {unknown}", fix=f"use {', '.join(sorted(known))}")
    return record


def _code(record: Mapping[str, Any], name: str) -> str:
    code = record.get(name)
    if not isinstance(code, str) or not CODE.fullmatch(code):
        raise Misconfigured(
            f"{name}.yaml", f"names no {name}", fix=f"add `{name}: <code>`: lower-case letters, digits, _"
        )
    return code


def _ends(record: Mapping[str, Any], name: str, owner: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The sources or sinks of a file as configuration, and their connections apart."""
    entries, connections = list[dict[str, Any]](), dict[str, str]()
    for entry in _entries(record.get(name) or (), name, owner):
        label, kind, options = entry.get("name", "main"), entry.get("kind"), entry.get("options") or {}
        delivery = entry.get("delivery") or {}
        if not isinstance(label, str) or not CODE.fullmatch(label) or not isinstance(kind, str):
            fix = f"give each of its {name} a `name` (lower-case letters, digits, _) and a `kind`"
            raise Misconfigured(owner, f"one of its {name} has no name or no kind", fix=fix)
        if not isinstance(options, Mapping):
            raise Misconfigured(f"{owner}, {label}", "its options are no object", fix="write `options: {name: value}`")
        if any(label == other["name"] for other in entries):
            raise Misconfigured(owner, f"names {label} twice in {name}", fix="give each its own name")
        if not isinstance(delivery, Mapping):
            fix = "write `delivery: {name: value}`"
            raise Misconfigured(f"{owner}, {label}", "its delivery is no object", fix=fix)
        own = secrets_of(kind) if name == "sinks" else ()
        known = {"name", "kind", "connection", "options", *own, *(("delivery",) if name == "sinks" else ())}
        if unknown := sorted(map(str, set(entry) - known)):
            fix = "put what belongs to the kind under `options`"
            raise Misconfigured(f"{owner}, {label}", f"has unknown entries {unknown}", fix=fix)
        written = {"delivery": dict(delivery)} if delivery else {}
        entries.append({"name": label, "kind": kind, "options": dict(options), **written})
        if entry.get("connection") is not None:
            connections[label] = str(entry["connection"])
        connections.update({f"{label}.{secret}": str(entry[secret]) for secret in own if entry.get(secret) is not None})
    return entries, connections


def _entries(entries: Any, name: str, owner: str) -> Iterator[Mapping[str, Any]]:
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise Misconfigured(owner, f"its {name} are no list", fix=f"write `{name}:` and then `- name: main` …")
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise Misconfigured(owner, f"one of its {name} is no object", fix=f"write `- name: main` … under `{name}:`")
        yield entry


def _moment(text: str, owner: str) -> datetime | date:
    try:
        return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    except ValueError as error:
        fix = "write a date (2026-01-01) or a time with its zone (2026-01-01T08:00:00+08:00)"
        raise Misconfigured(owner, f"{text!r} is no date", fix=fix) from error
