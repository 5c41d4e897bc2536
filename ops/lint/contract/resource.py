"""What is wrong with a contract as a resource of the catalogue (资源目录): its core metadata and its code (HANDBOOK A8, A9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ops.lint.contract.gov import CLASSES
from ops.lint.inspected import Inspected
from schemas.agreement.agency import Agency
from schemas.agreement.directory import Directory
from schemas.contract import Contract
from schemas.resource.code import code_of, code_rules

_TEXTS = ("resource", "abstract", "format", "condition", "method", "updateCycle")


class ResourceLint:
    """Contracts of a folder as resources, one after the other; `directory` is what runs."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._taken: dict[str, str] = {}
        for feed, entry in directory.feeds.items():
            agency = directory.agencies.get(entry.contract.agency)
            if agency is not None:
                self._taken.setdefault(code_of(entry.contract, agency), feed)
        self._left = {code: (feed, left) for left in directory.offboarded.values() for feed, code in left.codes.items()}

    def run(self, file: Inspected, contract: Contract, agency: Agency) -> None:
        """Say what keeps the feed from being published."""
        gov = contract.gov
        if "class" not in gov:
            fix = (
                f'add "class" to the record\'s gov: {", ".join(CLASSES)}, the latter two with "basis": "<law, article>"'
            )
            file.error(("gov",), "", "cannot be published: does not say how it is shared (共享类型)", fix)
        for name in _TEXTS:
            if name in gov and not (isinstance(gov[name], str) and gov[name].strip()):
                fix = f'write "{name}": "<text>", or leave it out: it then follows from what stands'
                file.error(("gov", name), "", f"gov.{name} says nothing", fix)
        if self._is_well_formed(file, gov):
            self._code(file, contract, agency)

    def _is_well_formed(self, file: Inspected, gov: Mapping[str, object]) -> bool:
        rules = code_rules()
        if "code" in gov and not rules.is_code(gov["code"]):
            fix = f'write "code": "{rules.shown()}", or leave it out: it then follows from the names'
            file.error(("gov", "code"), "", "gov.code is no resource code (类/项/目/细目/顺序号)", fix)
            return False
        related = gov.get("related", [])
        if not isinstance(related, list) or not all(rules.is_code(each) for each in related):
            fix = f'write "related": ["{rules.shown()}"], the codes as `mesh catalogue` shows them'
            file.error(("gov", "related"), "", "gov.related is no list of resource codes", fix)
        return True

    def _code(self, file: Inspected, contract: Contract, agency: Agency) -> None:
        code = code_of(contract, agency)
        for message, fix in self._objections(code, contract):
            at = ("gov", "code") if "code" in contract.gov else ("gov",)
            file.error(at, "", message, fix)
        self._taken.setdefault(code, contract.feed)

    def _objections(self, code: str, contract: Contract) -> Iterator[tuple[str, str]]:
        other = f'write "code": "<another>" into its gov, such as "{self._free(code)}"'
        if code in self._left:
            feed, left = self._left[code]
            text = f"resource code {code} was {feed}'s, which was offboarded on {left.at:%Y-%m-%d}; codes are never used again"
            yield text, other
        if (holder := self._taken.get(code, contract.feed)) != contract.feed:
            yield f"resource code {code} is {holder}'s", other
        former = self._said(contract.feed)
        if former and former != code:
            yield (
                f"was published under the resource code {former}",
                f'write "code": "{former}" into its gov: a code is for life',
            )

    def _said(self, feed: str) -> str:
        """The code under which the feed was published, if a person had a hand in it; one that followed from names may be replaced."""
        running = self._directory.feeds.get(feed)
        agency = self._directory.agencies.get(running.contract.agency) if running else None
        if running is None or agency is None or not (running.contract.gov.get("code") or agency.classification):
            return ""
        return code_of(running.contract, agency)

    def _free(self, code: str) -> str:
        """The next code of the same classification that nobody has or had."""
        separator = code_rules().separator
        within, _, sequence = code.rpartition(separator)
        number = int(sequence)
        while (free := f"{within}{separator}{number:0{len(sequence)}d}") in self._taken or free in self._left:
            number += 1
        return free
