"""The 28 sources of a household check, as sources.csv has them; streams/flows/inquiry/sources.py says what its columns mean."""

from __future__ import annotations

from pathlib import Path

from streams.flows.inquiry.sources import Sources

HERE = Path(__file__).parent
SOURCES = Sources.read(HERE / "sources.csv")
