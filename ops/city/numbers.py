"""Numbers of synthetic people and organisations: well formed, unique, and of counties that do not exist."""

from __future__ import annotations

from collections import Counter
from datetime import date
from random import Random

from schemas.expression.identifiers import citizen_check, org_code_check, registration_check, uscc_check

COUNTIES = ("440199", "440198")
"""County codes that GB/T 2260 never allocated: a number with one of them is nobody's."""
_SEQUENCES_MAX = 490  # of 500 odd or even ones: 996 to 999 once marked centenarians
_PLATE = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"


class Numbers:
    """Issues each number once; the same calls in the same order give the same numbers."""

    def __init__(self) -> None:
        self._persons: Counter[tuple[str, date, str]] = Counter()
        self._serials: Counter[str] = Counter()

    def citizen_id(self, rng: Random, born: date, sex: str) -> str:
        """An 18-character citizen ID (公民身份号码, GB 11643-1999)."""
        first = 0 if rng.random() < 0.9 else 1
        for county in (COUNTIES[first], COUNTIES[1 - first]):
            serial = self._persons[county, born, sex]
            if serial < _SEQUENCES_MAX:
                self._persons[county, born, sex] += 1
                number = f"{county}{born:%Y%m%d}{2 * serial + (1 if sex == '1' else 2):03}"
                return number + citizen_check(number)
        return self.citizen_id(rng, date.fromordinal(born.toordinal() - 1), sex)  # a full day: born the evening before

    def serial(self, kind: str) -> int:
        """The next number of a kind, from 1."""
        self._serials[kind] += 1
        return self._serials[kind]

    def org_code(self, is_new: bool) -> str:
        """An organisation code (组织机构代码, GB 11714): digits before the reform of 2015, MA and digits after it."""
        body = f"MA{self.serial('org_new'):06}" if is_new else f"7{self.serial('org_old'):07}"
        return body + org_code_check(body)

    def uscc(self, authority: str, org_code: str) -> str:
        """A unified social credit code (统一社会信用代码, GB 32100-2015) around an organisation code."""
        first = f"{authority}{COUNTIES[0]}{org_code}"
        return first + uscc_check(first)

    def registration_no(self) -> str:
        """A business-registration number (工商注册号)."""
        first = f"{COUNTIES[0]}{self.serial('registration'):08}"
        return first + registration_check(first)

    def plate_no(self) -> str:
        """A number plate (号牌号码) in the manner of the city's."""
        value, text = self.serial("plate"), ""
        for _ in range(5):
            value, digit = divmod(value, len(_PLATE))
            text = _PLATE[digit] + text
        return f"粤A{text}"

    def vin(self) -> str:
        """A vehicle identification number (车辆识别代号), without its check digit."""
        return f"LGZ0CD0X0G{self.serial('vin'):07}"

    def mobile(self, rng: Random) -> str:
        """A mobile number of a range that no operator assigns."""
        return f"100{int(rng.random() * 10**8):08}"


def fifteen_digits(citizen_id: str) -> str:
    """The number as it was written before 1999; unchanged for who was born outside the twentieth century."""
    return citizen_id[:6] + citizen_id[8:17] if citizen_id[6:8] == "19" else citizen_id
