"""Changes as a feed (Atom, RFC 4287): which sets were published anew, or when and by how many rows one set grew, the newest first.

An entry is a moment of a set, and its id is made of both: a reader of feeds takes each once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from ops.opendata.listing import time_of
from streams.flows.opendata.catalogue import PUBLISHERS, Dataset, Part

ENTRIES = 50
NAMESPACE = "http://www.w3.org/2005/Atom"
_PORTAL = "base"


@dataclass(frozen=True, slots=True)
class Moment:
    """A set had so many rows from a moment on, in microseconds."""

    listed: Dataset | Part
    at: int
    rows: int


def atom(url: str, path: str, title: str, moments: Iterable[Moment]) -> bytes:
    """The feed at an address. `url` is the API's own, without a slash."""
    newest = sorted(moments, key=lambda moment: (-moment.at, moment.listed.dataset))[:ENTRIES]
    ET.register_namespace("", NAMESPACE)
    feed = ET.Element(f"{{{NAMESPACE}}}feed")
    _told(feed, "id", f"{url}{path}")
    _told(feed, "title", title)
    _told(feed, "updated", time_of(newest[0].at if newest else 0))
    _by(feed, PUBLISHERS[_PORTAL].name)
    _link(feed, "self", f"{url}{path}")
    for moment in newest:
        entry = ET.SubElement(feed, f"{{{NAMESPACE}}}entry")
        place = f"{url}/datasets/{moment.listed.dataset}"
        _told(entry, "id", f"{place}#{moment.at}")
        _told(entry, "title", moment.listed.title)
        _told(entry, "updated", time_of(moment.at))
        _by(entry, PUBLISHERS[moment.listed.agency].name)
        _told(entry, "summary", f"{moment.rows} 条")
        _link(entry, "alternate", f"{url}/portal/datasets/{moment.listed.dataset}")
        _link(entry, "related", place)
    return ET.tostring(feed, "utf-8", xml_declaration=True)


def _told(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, f"{{{NAMESPACE}}}{name}").text = text


def _by(parent: ET.Element, name: str) -> None:
    _told(ET.SubElement(parent, f"{{{NAMESPACE}}}author"), "name", name)


def _link(parent: ET.Element, rel: str, href: str) -> None:
    ET.SubElement(parent, f"{{{NAMESPACE}}}link", {"rel": rel, "href": href})
