"""What is taken as an agency's folder from a form, and what is not."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ops.console.pages.given_files import BYTES_MAX, FILES_MAX, agency_in, files_of, sources_of, written
from schemas.errors import Misconfigured

AGENCY = "agency: aic\nname: 局\nsources:\n  - {name: main, kind: postgres, connection: '${X}'}\n  - {name: own, kind: flow}\n"


def upload(name: str, content: bytes) -> Any:
    return SimpleNamespace(filename=name, file=io.BytesIO(content))


def packed(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def test_texts_files_and_a_zip_make_one_folder_with_the_agency_first() -> None:
    zipped = packed({"aic/agency.yaml": AGENCY.encode(), "aic/b.avsc": b"{}"})
    form = [
        ("proof", "x"),
        ("file.a.avsc", "{}\r\n"),
        ("files", upload("folder.ZIP", zipped)),
        ("files", upload("", b"")),
        ("more", bytearray()),
    ]
    files = files_of(form)
    assert list(files) == ["agency.yaml", "a.avsc", "b.avsc"]
    assert files["a.avsc"] == "{}\n"
    assert (agency_in(files), [source["name"] for source in sources_of(files)]) == ("aic", ["main"])
    assert agency_in({"agency.yaml": "[: no yaml"}) == ""
    assert sources_of({"agency.yaml": "sources: 3"}) == []


@pytest.mark.parametrize("name", ["subscriber.yaml", "../../x.sh", "A.avsc", "x.avsc.exe", "", "名.avsc"])
def test_what_is_no_part_of_an_agency_is_refused_wherever_it_would_lie(name: str) -> None:
    with pytest.raises(Misconfigured, match="no part of an agency"):
        files_of([("files", upload("folder.zip", packed({f"x/{name}" if name else "x": b"{}"})))])


def test_a_name_with_a_path_is_its_last_part() -> None:
    assert list(files_of([("files", upload("..\\..\\etc\\a.avsc", b"{}"))])) == ["a.avsc"]


def test_what_is_too_large_or_no_text_is_refused() -> None:
    bomb = packed({"a.avsc": bytes(BYTES_MAX + 1)})
    assert len(bomb) < 100_000
    many = packed({f"t{number}.avsc": b"{}" for number in range(FILES_MAX + 1)})
    for content in (bomb, many, b"no zip"):
        with pytest.raises(Misconfigured, match="zip"):
            files_of([("files", upload("x.zip", content))])
    with pytest.raises(Misconfigured, match="too large"):
        files_of([("files", upload("a.avsc", b" " * (BYTES_MAX + 1)))])
    with pytest.raises(Misconfigured, match="UTF-8"):
        files_of([("files", upload("a.avsc", b"\xb9\xe3"))])


def test_an_address_takes_the_place_of_its_connection_and_of_no_other(tmp_path: Path) -> None:
    files = {"agency.yaml": AGENCY, "a.avsc": "{}"}
    written(files, tmp_path, {"main": "postgresql://a/b", "own": "", "other": "x"})
    text = (tmp_path / "agency.yaml").read_text("utf-8")
    assert "postgresql://a/b" in text
    assert "${X}" not in text
    assert "other" not in text
    written(files, tmp_path, {})
    assert (tmp_path / "agency.yaml").read_text("utf-8") == AGENCY
