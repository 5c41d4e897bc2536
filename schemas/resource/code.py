"""Resource code (资源代码), HANDBOOK A8: class (类), item (项), category (目), details (细目), and a sequence.

A person writes the first three once for an agency (`classification` in agency.yaml), and a whole code where a feed is to have another
(`code` in its gov). What is not written follows from names: an agency's class, item and category from its code, a feed's sequence
from its own name. Names are never used again, hence neither are the codes that follow from them; those that were written are kept
with what left (offboarding.py).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from schemas.agreement.agency import Agency
from schemas.agreement.directory import Directory
from schemas.contract import Contract
from schemas.dated.configuration import Packs, dated
from schemas.errors import Misconfigured

CITY = Path(__file__).parent.parent / "guangzhou" / "sharing" / "resource_codes.yaml"
SEQUENCES = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRules:
    """What codes look like: `classes` by digit, and which one an agency has that does not say it."""

    separator: str
    classes: Mapping[str, str]
    of_flow: str
    of_department: str

    def is_code(self, text: Any) -> bool:
        """Whether this is a whole code."""
        return (
            isinstance(text, str)
            and re.fullmatch(self._head() + rf"(?:{self._apart()}\d+)+", text, re.ASCII) is not None
        )

    def is_classification(self, text: Any) -> bool:
        """Whether this is class, item and category, with or without details."""
        return (
            isinstance(text, str)
            and re.fullmatch(self._head() + rf"(?:{self._apart()}\d+)*", text, re.ASCII) is not None
        )

    def shown(self) -> str:
        """A code, for people who have to write one."""
        return self.separator.join(("3", "01", "001", "000001"))

    def title(self, code: str) -> str:
        """What a code's class is called."""
        return self.classes.get(code[:1], "")

    def _apart(self) -> str:
        return re.escape(self.separator)

    def _head(self) -> str:
        return rf"[{''.join(self.classes)}]{self._apart()}\d{{2}}{self._apart()}\d{{3}}"


def read_code_rules(path: Path) -> Packs[CodeRules]:
    """The packs of a file. Raises Misconfigured."""

    def read(values: Mapping[str, Any]) -> CodeRules:
        try:
            return CodeRules(
                separator=str(values["separator"]),
                classes={str(digit): str(title) for digit, title in values["classes"].items()},
                of_flow=str(values["unsaid"]["flows"]),
                of_department=str(values["unsaid"]["departments"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            fix = "give it `separator`, `classes` (digit to title) and `unsaid: {flows: <digit>, departments: <digit>}`"
            raise Misconfigured(str(path), f"rules of resource codes cannot be read ({error})", fix=fix) from error

    return Packs(dated(path), read)


@cache
def code_rules() -> CodeRules:
    """The city's newest pack: a code is for the life of its resource, so it is made by the rules of the day it is made."""
    return list(read_code_rules(CITY))[-1]


def classification_of(agency: Agency, *, is_flow: bool) -> str:
    """Class, item and category of what an agency provides."""
    if agency.classification:
        return agency.classification
    rules, number = code_rules(), _number(agency.agency, 10**5)
    digit = rules.of_flow if is_flow else rules.of_department
    return rules.separator.join((digit, f"{number // 1000:02d}", f"{number % 1000:03d}"))


def code_of(contract: Contract, agency: Agency) -> str:
    """The code of a feed: as its contract says, else as it follows from names."""
    written = contract.gov.get("code")
    if written:
        return str(written)
    within = classification_of(agency, is_flow=agency.has_flow(contract.source))
    return code_rules().separator.join((within, f"{_number(contract.feed, SEQUENCES):06d}"))


def codes_of(directory: Directory, feeds: Iterable[str]) -> dict[str, str]:
    """The resource codes of these feeds."""
    known = ((feed, directory.feeds[feed].contract) for feed in feeds if feed in directory.feeds)
    return {
        feed: code_of(contract, agency)
        for feed, contract in known
        if (agency := directory.agencies.get(contract.agency)) is not None
    }


def _number(name: str, below: int) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % below
