"""Key works (政府重点工作) of a city: an entry of the catalogue each, with a template of the grants that its subscribers need.

A city's folder holds them as `works/<code>.yaml`; the grants read as in `subscriber.yaml` (ops/lint/folder.py), and may leave
parameters open, written `<name>` in a row filter:

    work: floating_population
    name: 流动人员管理
    name_en: Floating population
    aliases: []                                   # other names for the same work
    by: person archive                            # which system of the city carries it
    parameters: {region: "the district's code, such as 440106"}
    grants:
      - feed: police.residence_permit
        columns: [permit_no, residence_region, status]
        row_filter: "residence_region == '<region>'"
        purpose: 流动人员服务管理

What a template grants is no grant: nothing flows before somebody has taken it into a subscriber's folder and onboarded that.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from ops.kinds.sinks import SUGGESTED
from ops.known_names import did_you_mean
from ops.lint.folder import CODE, SUBSCRIBER_FILE, read, subscriber_of
from ops.lint.located import Unreadable
from schemas.agreement.directory import Directory
from schemas.errors import Misconfigured

WORKS = "works"
_VALUE = re.compile(r"[0-9A-Za-z_]+")
_OPEN = re.compile(r"<([a-z_]+)>")
_KNOWN = {"work", "name", "name_en", "aliases", "by", "parameters", "grants"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One work. `parameters`: what its template leaves open, and what it means."""

    code: str
    name: str
    name_en: str
    by: str
    aliases: Sequence[str]
    parameters: Mapping[str, str]
    grants: Sequence[Mapping[str, Any]]

    @property
    def feeds(self) -> Sequence[str]:
        """The feeds of its template, each once."""
        return list(dict.fromkeys(grant["feed"] for grant in self.grants))

    @property
    def names(self) -> Sequence[str]:
        """Everything by which people look for it."""
        return [self.code, self.name, self.name_en, *self.aliases]

    def is_active(self, feeds: Collection[str]) -> bool:
        """Whether every feed of the template is among those that have rows."""
        return set(self.feeds) <= set(feeds)

    def subscribers(self, directory: Directory, now: datetime) -> Sequence[str]:
        """Who has an active grant under one of the work's matters."""
        matters = {(grant["feed"], grant.get("matter_code")) for grant in self.grants}
        grants = [entry.grant for entry in directory.grants.values() if entry.grant.is_active(now)]
        return sorted({grant.subscriber for grant in grants if (grant.feed, grant.matter_code) in matters})


def load_works(city: Path) -> Sequence[Work]:
    """The works of a city's folder by code; none where it has no `works`. Raises Misconfigured."""
    return [_work(path) for path in sorted((city / WORKS).glob("*.yaml"))]


def find_work(city: Path, code: str) -> Work:
    """The work of this code. Raises Misconfigured."""
    works = {work.code: work for work in load_works(city)}
    if code not in works:
        raise Misconfigured(
            f"work {code}", "is not one of the city's", fix=did_you_mean(code, works, "`mesh works` lists them")
        )
    return works[code]


def subscriber_text(work: Work, subscriber: str, values: Mapping[str, str]) -> str:
    """The `subscriber.yaml` of a subscriber who takes part in the work. Raises Misconfigured for parameters left open."""
    if not CODE.fullmatch(subscriber):
        raise Misconfigured("--subscriber", "is no code", fix="use lower-case letters, digits, _")
    for name, meaning in work.parameters.items():
        if not _VALUE.fullmatch(values.get(name, "")):
            raise Misconfigured(f"work {work.code}", f"needs {name}: {meaning}", fix=f"add --set {name}=<value>")
    if unknown := sorted(values.keys() - work.parameters.keys()):
        known = ", ".join(work.parameters) or "none"
        raise Misconfigured(f"work {work.code}", f"has no parameter {unknown[0]}", fix=f"it has {known}")
    record = {
        "subscriber": subscriber,
        "name": subscriber,
        "sinks": [{"name": "main", "kind": SUGGESTED, "connection": f"${{MESH_{subscriber.upper()}_DSN}}"}],
        "grants": [_filled(grant, values) for grant in work.grants],
    }
    subscriber_of(record)
    head = f"# {work.name} ({work.name_en}): from the city's template {WORKS}/{work.code}.yaml\n"
    return head + yaml.safe_dump(record, allow_unicode=True, sort_keys=False, width=120)


def write_subscriber(folder: Path, subscriber: str, text: str) -> Path:
    """Write the file into a folder of the subscriber's. Raises Misconfigured when there is one: what it grants stays."""
    path = folder / subscriber / SUBSCRIBER_FILE
    if path.exists():
        raise Misconfigured(str(path), "is there already", fix="leave --into out, and add the printed grants by hand")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def _filled(grant: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    filled = dict(grant)
    if "row_filter" in filled:
        filled["row_filter"] = _OPEN.sub(lambda found: values.get(found[1], found[0]), filled["row_filter"])
    return filled


def _work(path: Path) -> Work:
    try:
        record = read(path).value
    except Unreadable as error:
        raise Misconfigured(f"{path}:{error.line}", str(error), fix="correct the text there") from error
    if not isinstance(record, Mapping) or record.get("work") != path.stem or not record.get("grants"):
        raise Misconfigured(str(path), "is no work", fix="write `work: <the file's name>`, `name:` and `grants:`")
    if unknown := sorted(map(str, record.keys() - _KNOWN)):
        raise Misconfigured(str(path), f"has unknown entries {unknown}", fix=f"use {', '.join(sorted(_KNOWN))}")
    work = Work(
        code=path.stem,
        name=str(record.get("name") or path.stem),
        name_en=str(record.get("name_en") or ""),
        by=str(record.get("by") or ""),
        aliases=list(record.get("aliases") or ()),
        parameters=dict(record.get("parameters") or {}),
        grants=list(record["grants"]),
    )
    for grant in work.grants:
        left = set(_OPEN.findall(grant.get("row_filter") or "")) - work.parameters.keys()
        if left:
            raise Misconfigured(str(path), f"leaves <{min(left)}> open", fix="say under `parameters:` what it means")
    return work
