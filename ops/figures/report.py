"""Report of `mesh board`: the figures and the disagreements of both sides, for people and for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from rich.table import Table
from rich.text import Text

from ops.city.city import GUANGZHOU
from ops.command.terminal import report_console
from ops.figures.brief import Brief, the_brief
from ops.figures.disagreements import Finding, Rule, findings
from ops.figures.figure import FIGURES, Figure, Value, values
from ops.figures.numbers import Listed, Numbers
from ops.figures.observed import FEEDS, observe
from ops.onboarding.work import load_works
from ops.proof.feed_rows import feed_rows
from ops.settings import Settings
from ops.watch.lag import LagReader
from schemas.log.control.follower import read_directory

NOTHING_YET = "nothing to count yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureLine:
    """One figure: `here` follows from the mesh's feeds, `brief` from the brief's own numbers; `stated` is what the brief quotes."""

    figure: Figure
    here: Value | None
    brief: Value | None
    stated: Decimal

    @property
    def is_found_again(self) -> bool:
        """Whether the brief's own numbers give what it quotes, to as many digits as it quotes."""
        return self.brief is not None and self.brief.value.quantize(_like(self.stated)) == self.stated.quantize(
            _like(self.stated)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DisagreementLine:
    """One rule held against both sides."""

    rule: Rule
    here: Finding | None
    brief: Finding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All lines. `window` is the one that the household checks are of."""

    window: str
    figures: Sequence[FigureLine]
    disagreements: Sequence[DisagreementLine]

    @property
    def is_red(self) -> bool:
        """Whether any rule is broken by the mesh's own numbers."""
        return any(line.here is not None and line.here.is_red for line in self.disagreements)

    def to_json(self) -> dict[str, Any]:
        """The report of `mesh board --json`; the fields' names are stable."""
        return {
            "window": self.window,
            "is_red": self.is_red,
            "figures": [
                {
                    **asdict(line.figure),
                    "here": _value_json(line.here),
                    "brief": _value_json(line.brief),
                    "stated": str(line.stated),
                    "is_found_again": line.is_found_again,
                }
                for line in self.figures
            ],
            "disagreements": [
                {
                    "code": line.rule.code,
                    "must": line.rule.must,
                    "here": None if line.here is None else asdict(line.here),
                    "brief": None if line.brief is None else asdict(line.brief),
                }
                for line in self.disagreements
            ],
        }

    def render(self) -> None:
        """Print both tables."""
        figures = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        for name in ("figure 指标", "unit 单位", "base 口径", "here", "from", "brief", "from", "stated"):
            figures.add_column(name, justify="right" if name in {"here", "brief", "stated"} else "left")
        for line in self.figures:
            stated = Text(f"{line.stated:,}", style="green" if line.is_found_again else "red")
            meaning = (line.figure.title, line.figure.unit, line.figure.base)
            figures.add_row(*meaning, *_value_cells(line.here), *_value_cells(line.brief), stated)
        disagreements = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        for name in ("", "side", "", "arithmetic 算式"):
            disagreements.add_column(name, overflow="fold")
        for line in self.disagreements:
            disagreements.add_row(Text(line.rule.code, style="bold"), "must", "", Text(line.rule.must, style="bold"))
            for side, finding in (("here", line.here), ("brief", line.brief)):
                disagreements.add_row("", side, *_finding_cells(finding))
        console = report_console()
        console.print(f"household checks of {self.window}\n", style="dim")
        console.print(figures)
        console.print()
        console.print(disagreements)


def board(settings: Settings) -> Report:
    """The report of a running mesh. Raises Transient when the brokers do not answer."""
    directory = read_directory(settings.kafka)
    brief = the_brief()
    rows = feed_rows(settings, [directory.feeds[feed] for feed in FEEDS if feed in directory.feeds])
    with closing(LagReader(settings.kafka)) as reader:
        filled = reader.newest_at_ms(directory.feeds)
    works = load_works(GUANGZHOU)
    here = observe(
        rows,
        directory,
        window=brief.window,
        hours_per_visit=brief.hours_per_visit,
        terms=brief.numbers.terms,
        works=Listed(stated=len(works), found=sum(work.is_active(filled) for work in works)),
    )
    return compare(here, brief)


def compare(here: Numbers, brief: Brief) -> Report:
    """Both sides' numbers, figure by figure and rule by rule."""
    ours, theirs = values(here, brief.numbers), values(brief.numbers, brief.numbers)
    both = zip(findings(here), findings(brief.numbers), strict=True)
    return Report(
        window=brief.window,
        figures=[
            FigureLine(
                figure=figure,
                here=ours.get(figure.figure),
                brief=theirs.get(figure.figure),
                stated=brief.stated[figure.figure],
            )
            for figure in FIGURES
        ],
        disagreements=[DisagreementLine(rule=rule, here=found, brief=told) for (rule, found), (_, told) in both],
    )


def _like(stated: Decimal) -> Decimal:
    """The digits that a quoted figure is quoted to: those behind its point, or its leading four."""
    exponent = stated.as_tuple().exponent
    return Decimal(1).scaleb(int(exponent) if int(exponent) < 0 else max(0, stated.adjusted() - 3))


def _value_json(value: Value | None) -> Mapping[str, Any] | None:
    return None if value is None else {"value": str(value.value), **value.parts, "arithmetic": value.arithmetic}


def _value_cells(value: Value | None) -> tuple[str, str]:
    return ("", NOTHING_YET) if value is None else (f"{value.value:,}", value.arithmetic)


def _finding_cells(finding: Finding | None) -> tuple[Text, str]:
    if finding is None:
        return Text(""), NOTHING_YET
    mark = Text("RED", style="bold red") if finding.is_red else Text("ok", style="green")
    return mark, finding.arithmetic
