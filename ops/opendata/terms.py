"""Terms: the licence (许可) under which open data are given, and the contact (联系方式) for questions: stated, never made up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from schemas.errors import Misconfigured

FILE = Path(__file__).parent / "terms.yaml"
SETTING = "MESH_OPENDATA_TERMS"
_ADDRESS = re.compile(r"(https://|mailto:|tel:)[\w.,:;/?#@!$&'()*+=%~-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """`url` leads to its text; `code` is its word in the EU's list, "" where it is not in it."""

    name: str
    name_en: str
    url: str
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """`address`: mailto:, tel: or https:."""

    name: str
    name_en: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Of all data sets alike."""

    licence: Licence
    contact: Contact


def read_terms(path: Path = FILE) -> Terms:
    """Raises Misconfigured for a file that does not say both."""
    fix = f"write it as {FILE.name} beside the open data server has it, or leave {SETTING} out"
    try:
        told = yaml.safe_load(path.read_text("utf-8"))
        terms = Terms(licence=Licence(**told["licence"]), contact=Contact(**told["contact"]))
    except OSError as error:
        raise Misconfigured(SETTING, f"cannot be read: {error.strerror}", fix=fix) from error
    except (ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise Misconfigured(SETTING, "does not say licence and contact", fix=fix) from error
    texts = [*(getattr(terms.licence, name) for name in ("name", "name_en", "url"))]
    texts += [terms.contact.name, terms.contact.name_en, terms.contact.address]
    if not all(isinstance(text, str) and text for text in texts):
        raise Misconfigured(SETTING, "has an empty field, or one that is no text", fix=fix)
    if not (terms.licence.url.startswith("https://") and _ADDRESS.fullmatch(terms.licence.url)):
        raise Misconfigured(SETTING, "has a licence whose url is no https address", fix=fix)
    if not _ADDRESS.fullmatch(terms.contact.address):
        raise Misconfigured(SETTING, "has a contact whose address is none of mailto:, tel: and https:", fix=fix)
    return terms
