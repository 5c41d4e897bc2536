"""Previewed: what a dry run shows both sides before they approve (HANDBOOK §6.1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.table import Table

from ops.command.terminal import moment, report_console
from ops.grants.preview.distinct import Distinct
from ops.grants.preview.sketch import Sketch
from ops.show.tail import shown
from schemas.agreement.grant import Grant
from schemas.contract import Contract


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """What would have flowed since a moment."""

    grant: Grant
    contract: Contract
    since: datetime
    sketch: Sketch

    @property
    def share(self) -> float | None:
        """Of the feed's distinct subjects in this time, those whose rows would flow; None where there was nobody."""
        everybody = self.sketch.subjects.count
        return min(1.0, self.sketch.touched.count / everybody) if everybody else None

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        sketch, groups = self.sketch, self.sketch.groups
        return {
            "grant_id": self.grant.grant_id,
            "feed": self.grant.feed,
            "since": self.since.isoformat(),
            "changes": sketch.changes,
            "would_flow": sketch.passed,
            "removals": sketch.removed,
            "rejected": dict(sketch.rejected),
            "rows": sketch.rows.count,
            "rows_are_exact": sketch.rows.is_exact,
            "columns": self._columns(),
            "subjects": {
                "by": list(sketch.subject),
                "in_feed": sketch.subjects.count,
                "touched": sketch.touched.count,
                "share": self.share,
                "is_exact": sketch.subjects.is_exact and sketch.touched.is_exact,
            },
            "groups": {
                "by": list(sketch.quasi),
                "count": len(groups),
                "smallest": groups.smallest,
                "of_one": groups.singled_out,
                "is_whole": groups.is_whole,
            },
            "samples": [dict(each) for each in sketch.samples],
        }

    def _columns(self) -> list[dict[str, Any]]:
        return [
            {
                "column": field.name,
                "name": field.doc.partition("|")[0],
                "class": field.gov.get("class"),
                "tags": sorted(field.tags),
                "mask": str(self.sketch.masks[field.name]),
            }
            for field in self.sketch.columns
        ]

    def render(self) -> None:
        """For people."""
        console, sketch = report_console(), self.sketch
        console.print(
            f"grant {self.grant.grant_id}, dry run 试运行 of {self.grant.feed} since {moment(self.since)}", style="bold"
        )
        console.print(
            f"{sketch.changes:,} changes, of which {sketch.passed:,} would flow and {sketch.removed:,} would be removals;"
            f" {_counted(sketch.rows)} rows"
        )
        for reason, count in sorted(sketch.rejected.items()):
            console.print(f"{count:,} would be dead letters: {reason}", style="yellow")
        share = "nobody came by" if self.share is None else f"{self.share:.1%} of {_counted(sketch.subjects)}"
        console.print(f"subjects touched, by {', '.join(sketch.subject)}: {_counted(sketch.touched)} ({share})")
        console.print(self._group_line())
        columns = Table("column", "name", "class", "tags", "mask", box=None, header_style="bold", padding=(0, 2, 0, 0))
        for each in self._columns():
            columns.add_row(each["column"], each["name"], each["class"], ", ".join(each["tags"]), each["mask"])
        console.print(columns)
        names = list(sketch.masks)
        samples = Table(*names, box=None, header_style="bold", padding=(0, 2, 0, 0), title="samples, masked")
        for each in sketch.samples:
            samples.add_row(*(shown(each[name]) for name in names))
        console.print(samples)

    def _group_line(self) -> str:
        sketch, groups = self.sketch, self.sketch.groups
        if not sketch.quasi:
            return "no column that leaves is tagged QUASI_ID: nobody is told by what leaves but by its key"
        what = f"groups by {', '.join(sketch.quasi)}"
        of = "" if groups.is_whole else " of a sample"
        return f"{what}: {len(groups):,}{of}, the smallest of {groups.smallest or 0:,} rows, {groups.singled_out:,} of one row"


def _counted(distinct: Distinct) -> str:
    return f"{distinct.count:,}" if distinct.is_exact else f"about {distinct.count:,}"
