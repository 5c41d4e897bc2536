"""Given files: what somebody uploads or pastes as an agency's folder, as text by name; bounded, and no path of anybody's choosing."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from ops.lint.folder import AGENCY_FILE
from schemas.errors import Misconfigured

FILES_MAX = 200
BYTES_MAX = 3 * 1024 * 1024
"""Of all files together, unpacked."""
FIELD = "file."
"""What the name of a form's field begins with that holds a file's text."""
_NAME = re.compile(r"agency\.yaml|[a-z][a-z0-9_]*\.avsc")


def files_of(form: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """The files in a form: its texts, and what was uploaded, a zip unpacked. Raises Misconfigured for what is none or too much.

    Folders within are left out: an agency is one. What is neither `agency.yaml` nor a contract is refused by name.
    """
    found: dict[str, str] = {}
    for name, value in form:
        if isinstance(value, str):
            if name.startswith(FIELD) and value.strip():
                _take(found, name.removeprefix(FIELD), value)
        elif getattr(value, "filename", ""):  # of an upload; where none was chosen there are bytes without a name
            content = value.file.read(BYTES_MAX + 1)
            parts = _unpacked(content) if value.filename.lower().endswith(".zip") else [(value.filename, content)]
            for part, data in parts:
                _take(found, part, _text(part, data))
    if sum(map(len, found.values())) > BYTES_MAX or len(found) > FILES_MAX:
        fix = f"give {FILES_MAX} files of {BYTES_MAX // 1024 // 1024} MB in all at most; `mesh onboard` takes any"
        raise Misconfigured("the folder", "is too large for a page", fix=fix)
    return dict(sorted(found.items(), key=lambda each: (each[0] != AGENCY_FILE, each[0])))


def sources_of(files: Mapping[str, str]) -> list[dict[str, Any]]:
    """The sources in `agency.yaml` that have a connection, each with its name; none where it cannot be read."""
    return [source for source in _sources(files) if "connection" in source]


def written(files: Mapping[str, str], folder: Path, addresses: Mapping[str, str]) -> None:
    """Write the files into a folder, with these addresses in the place of the connections of sources, by name."""
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    if addresses:
        record = yaml.safe_load(files[AGENCY_FILE])
        for source in record["sources"]:
            if source.get("name", "main") in addresses:
                source["connection"] = addresses[source.get("name", "main")]
        (folder / AGENCY_FILE).write_text(yaml.safe_dump(record, allow_unicode=True, sort_keys=False), "utf-8")


def agency_in(files: Mapping[str, str]) -> str:
    """The code in `agency.yaml`; empty where there is none."""
    record = _record(files)
    code = record.get("agency")
    return code if isinstance(code, str) else ""


def _record(files: Mapping[str, str]) -> dict[str, Any]:
    try:
        record = yaml.safe_load(files.get(AGENCY_FILE, ""))
    except yaml.YAMLError:
        return {}  # the check says where
    return record if isinstance(record, dict) else {}


def _sources(files: Mapping[str, str]) -> list[dict[str, Any]]:
    sources = _record(files).get("sources")
    listed = sources if isinstance(sources, list) else []
    return [{"name": "main", **source} for source in listed if isinstance(source, dict)]


def _take(found: dict[str, str], name: str, text: str) -> None:
    name = PurePosixPath(name.replace("\\", "/")).name
    if not _NAME.fullmatch(name):
        fix = f"give {AGENCY_FILE} and one <table>.avsc for each table; a subscriber asks on the page of a feed"
        raise Misconfigured(f"file {name[:80]!r}", "is no part of an agency's folder", fix=fix)
    found[name] = text.replace("\r\n", "\n")


def _unpacked(content: bytes) -> list[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [each for each in archive.infolist() if not each.is_dir() and "__MACOSX" not in each.filename]
            if len(entries) > FILES_MAX or sum(each.file_size for each in entries) > BYTES_MAX:
                raise Misconfigured(
                    "the zip", "is too large for a page", fix="`mesh onboard` takes a folder of any size"
                )
            return [(each.filename, archive.read(each)) for each in entries]
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise Misconfigured("the zip", "cannot be unpacked", fix="pack the folder again, without a password") from error


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Misconfigured(f"file {name[:80]!r}", "is not UTF-8", fix="save it as UTF-8") from error
