"""Draw check: whether a draw of the car quota (摇号) is the one that follows from what was published, read from the feeds.

Everything needed is public: the roster's pages, its hash and the commitment (`quota.roster`), key and winners
(`quota.draw_result`), and the number of quotas (`transport.quota_draw`). Nothing of the flow's own state is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.proof.feed_rows import feed_rows
from ops.settings import Settings
from schemas.errors import Misconfigured
from schemas.log.control.follower import read_directory
from streams.flows.quota.draw import commitment, draw_order, parse_key, roster_hash, verify_draw

ROSTER, RESULT, DRAW = "quota.roster", "quota.draw_result", "transport.quota_draw"
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A draw and what is wrong with it: codes of `verify_draw`, or ROSTER_PAGES_MISSING, RANKS_BROKEN, NOT_DRAWN."""

    period: str
    quota_kind: str
    codes: int
    roster_hash: str | None
    key_commitment: str | None
    winners: int
    problems: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """Whether the draw is exactly the one that anybody would compute."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {name: getattr(self, name) for name in self.__slots__} | {"is_right": self.is_right}

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.period} {self.quota_kind}: {self.codes} codes, {self.winners} winners"
        yield f"roster hash  {self.roster_hash}"
        yield f"commitment   {self.key_commitment}"
        yield "the draw is right" if self.is_right else f"WRONG: {', '.join(self.problems)}"


def check_draw(settings: Settings, period: str, quota_kind: str) -> Checked:
    """Read a draw from the running mesh and compute it again. Raises Misconfigured if the mesh has not its feeds."""
    feeds = read_directory(settings.kafka).feeds
    for feed in (ROSTER, RESULT, DRAW):
        if feed not in feeds:
            raise Misconfigured(feed, "is not onboarded", fix=f"mesh onboard the folder of {feed.partition('.')[0]}")
    found = feed_rows(settings, [feeds[feed] for feed in (ROSTER, RESULT, DRAW)])
    rows = [
        [row for row in found[feed] if (row["period"], row["quota_kind"]) == (period, quota_kind)] for feed in found
    ]
    return check_rows(period, quota_kind, *rows)


def check_rows(period: str, quota_kind: str, pages: Rows, results: Rows, draws: Rows) -> Checked:
    """Compute one draw again from its published rows."""
    if not pages:
        raise Misconfigured(f"the draw of {period} {quota_kind}", "has no roster", fix="wait for the period's freeze")
    pages = sorted(pages, key=lambda page: page["page"])
    results = sorted(results, key=lambda row: row["rank"])
    codes = [code for page in pages for code in page["codes"]]
    promised = pages[0]["key_commitment"]
    problems: list[str] = []
    if len(pages) != pages[0]["pages"] or len(codes) != pages[0]["code_count"]:
        problems.append("ROSTER_PAGES_MISSING")
    if not results or not draws:
        problems.append("NOT_DRAWN")
    else:
        if [row["rank"] for row in results] != list(range(1, len(results) + 1)):
            problems.append("RANKS_BROKEN")
        problems += verify_draw(
            codes,
            published_hash=pages[0]["roster_hash"],
            key_commitment=promised or "",
            draw_key=results[0]["draw_key"],
            quota=draws[0]["quota"],
            winners=[row["app_code"] for row in results],
            algorithm=draws[0]["algorithm"],
        )
    return Checked(
        period=period,
        quota_kind=quota_kind,
        codes=len(codes),
        roster_hash=pages[0]["roster_hash"],
        key_commitment=promised,
        winners=len(results),
        problems=tuple(problems),
    )


def compute_draw(lines: Iterable[str], key_text: str, quota: int) -> dict[str, Any]:
    """A draw from a list of codes, one a line, for whoever holds roster and key: hash, commitment and winners in order."""
    codes = [code for line in lines if (code := line.strip())]
    if len(set(codes)) != len(codes) or not all(code.isascii() for code in codes):
        raise Misconfigured("the roster", "repeats a code, or one is not ASCII", fix="give each code once, one a line")
    key = parse_key(key_text)
    if key is None:
        raise Misconfigured("--key", "is not 32 bytes", fix="give the draw key as 64 hexadecimal digits")
    return {
        "codes": len(codes),
        "roster_hash": roster_hash(codes),
        "key_commitment": commitment(key),
        "winners": draw_order(codes, key)[: max(quota, 0)],
    }
