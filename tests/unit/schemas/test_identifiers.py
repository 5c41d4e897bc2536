"""The validators against the standards' own vectors, and against slow second readings of the rules."""

from __future__ import annotations

import string
import time
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.expression.identifiers import (
    USCC_ALPHABET,
    NumberStatus,
    citizen_check,
    normalise,
    org_code_check,
    registration_check,
    uscc_check,
    validate_citizen_id,
    validate_disability_card,
    validate_org_code,
    validate_registration_no,
    validate_uscc,
)

AS_OF = date(2016, 10, 31)
VALIDATORS = [
    validate_citizen_id,
    validate_uscc,
    validate_org_code,
    validate_registration_no,
    validate_disability_card,
]


@pytest.mark.parametrize(
    ("number", "sex", "born"),
    [
        ("440199199001010017", "1", date(1990, 1, 1)),
        ("440199200002290028", "2", date(2000, 2, 29)),
        ("44019919880808002X", "2", date(1988, 8, 8)),
        ("11010519491231002X", "2", date(1949, 12, 31)),
    ],
)
def test_citizen_ids_of_the_standard(number, sex, born):
    found = validate_citizen_id(number, as_of=AS_OF)
    assert (found.status, found.normalised, found.code) == (NumberStatus.VALID, number, None)
    assert found.facts == {"birth_date": born, "sex": sex, "citizen_id": number}


def test_fifteen_digits_are_upgraded():
    found = validate_citizen_id("440199750815012", as_of=AS_OF)
    assert (found.status, found.normalised) == (NumberStatus.UPGRADED, "440199197508150124")
    assert found.facts["birth_date"] == date(1975, 8, 15)


def test_a_centenarians_number_is_never_certain():
    found = validate_citizen_id("440199960229997", as_of=AS_OF)
    assert found.status is NumberStatus.AMBIGUOUS_CENTURY
    assert found.candidates == ("44019918960229997X", "440199199602299979")
    assert (found.normalised, dict(found.facts)) == (None, {})
    one = validate_citizen_id("440199160101998", as_of=AS_OF)  # 1816 is before anybody's number, 1916 is left
    assert (one.status, [text[6:10] for text in one.candidates]) == (NumberStatus.AMBIGUOUS_CENTURY, ["1916"])


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("440199197508150125", "CHECK"),
        ("44019919900101001", "LEN"),
        ("44019919900101001Y", "LEN"),
        ("X40199199001010017", "LEN"),
        ("44019919900101001\uff17 0", "LEN"),
        ("\u066440199199001010017", "LEN"),  # an Arabic digit is no digit here
        ("", "LEN"),
        ("830000199001010017", "ID_TYPE"),
        ("810000900101001", "ID_TYPE"),
        ("440199199002300017", "DATE"),
        ("440199184912310017", "DATE"),
        ("440199201611010017", "DATE"),
        ("440199990230001", "DATE"),
        ("440199000229001", "DATE"),  # 1900 was no leap year
    ],
)
def test_bad_citizen_ids_name_the_first_failing_step(number, code):
    found = validate_citizen_id(number, as_of=AS_OF)
    assert (found.status, found.code, found.normalised) == (NumberStatus.INVALID, code, None)


def test_without_a_date_the_future_is_not_tested():
    number = "44019920900101001"
    assert validate_citizen_id(number + citizen_check(number)).is_valid


def test_citizen_id_warnings():
    number = "440199199001010017"
    assert validate_citizen_id(number, regions={"440199"}, declared={"sex": "1"}).warnings == ()
    assert validate_citizen_id(number, regions=set(), declared={"sex": "2"}).warnings == ("REGION_UNKNOWN", "SEQ")
    assert validate_citizen_id(number, declared={"sex": "9"}).warnings == ()
    assert validate_citizen_id("440199750815012", declared={"sex": "1"}).warnings == ("SEQ",)


@pytest.mark.parametrize(
    "code", ["91440199MA00000155", "12440199000000019K", "92440199MA00000X75", "91350100M000100Y43"]
)
def test_usccs_of_the_standard(code):
    assert validate_uscc(code).is_valid
    assert validate_uscc(f" {code.lower()}　").normalised == code
    assert validate_uscc(code).code is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("91440199MA0000015T", "CHECK"),  # the alphabet's place of S mod 31, without the subtraction
        ("91440199MA0000015", "LEN"),
        ("91440199MA000OO155", "ALPHABET"),
        ("91440199MÀ00000155", "ALPHABET"),
        ("9144019AMA00000155", "REGION"),
    ],
)
def test_bad_usccs_name_the_first_failing_step(code, reason):
    assert (validate_uscc(code).status, validate_uscc(code).code) == (NumberStatus.INVALID, reason)


def test_uscc_warnings():
    legacy = "91440199MA0000016"
    code = legacy + uscc_check(legacy)
    assert validate_uscc(code).warnings == ("ORG_CODE",)
    assert validate_uscc(code, regions=(), authorities=("12",)).warnings == (
        "AUTHORITY_UNKNOWN",
        "REGION_UNKNOWN",
        "ORG_CODE",
    )
    assert validate_uscc("91440199MA00000155", regions={"440199"}, authorities={"91"}).warnings == ()


def test_smaller_numbers():
    assert validate_org_code("MA0000015").is_valid
    assert validate_org_code("MA00000X7").is_valid
    assert validate_org_code("ma00000x－7").normalised == "MA00000X7"
    assert validate_org_code("MA00000X6").code == "CHECK"
    assert validate_org_code("MA00000X").code == "LEN"
    assert validate_org_code("MA00000XA").code == "ALPHABET"
    assert validate_org_code("-").code == "LEN"
    assert validate_registration_no("440199000000014").is_valid
    assert validate_registration_no("440199000000015").code == "CHECK"
    assert validate_registration_no("44019900000001X").code == "LEN"


def test_disability_card():
    found = validate_disability_card("44019919900101001742", as_of=AS_OF)
    assert found.is_valid
    assert found.facts == {
        "birth_date": date(1990, 1, 1),
        "sex": "1",
        "citizen_id": "440199199001010017",
        "kind": 4,
        "level": 2,
        "reissue": 0,
    }
    assert validate_disability_card("44019919900101001742b12").facts["reissue"] == 12


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("4401991990010100174", "LEN"),
        ("44019919900101001742B0", "LEN"),
        ("44019919900101001742B01", "LEN"),
        ("44019919900101001742B100", "LEN"),
        ("44019919900101001842", "ID_CHECK"),
        ("44019919900230001742", "ID_DATE"),
        ("82000019900101001742", "ID_ID_TYPE"),
        ("44019919900101001782", "KIND"),
        ("44019919900101001745", "LEVEL"),
    ],
)
def test_bad_disability_cards(number, code):
    assert validate_disability_card(number).code == code


def test_a_disability_card_must_agree_with_its_row():
    number = "44019919750815012442"
    agreeing = {"citizen_id": "440199750815012", "kind": "4", "level": 2, "sex": None}
    assert validate_disability_card(number, declared=agreeing).is_valid
    assert validate_disability_card(number, declared={"citizen_id": None, "kind": None}).is_valid
    for other in ({"citizen_id": "440199199001010017"}, {"kind": "3"}, {"level": 1}):
        assert validate_disability_card(number, declared=agreeing | other).code == "MISMATCH"


def test_normalisation_changes_nothing_else():
    assert normalise("\u3000\uff14\uff14\uff10\uff11\uff19\uff19x\t") == "440199X"
    assert normalise("\uff41z") == "AZ"
    assert normalise("ß ı²") == "ß ı²"  # upper-casing is ASCII's only


def test_a_result_never_prints_the_number():
    for found in (validate_citizen_id("440199960229997"), validate_disability_card("44019919900101001742")):
        assert "440199" not in repr(found)


@given(st.text())
def test_no_text_raises(text):
    for validate in VALIDATORS:
        assert validate(text).status in NumberStatus
        assert validate(normalise(text)) == validate(text)


def births():
    return st.dates(date(1850, 1, 1), date(2016, 10, 31))


@given(births(), st.integers(0, 999), st.sampled_from(["440199", "440198"]))
def test_citizen_check_is_iso_7064_mod_11_2(born, sequence, region):
    first = f"{region}{born:%Y%m%d}{sequence:03}"
    number = first + citizen_check(first)
    total = sum((10 if c == "X" else int(c)) * 2 ** (17 - i) for i, c in enumerate(number))
    assert total % 11 == 1
    found = validate_citizen_id(number, as_of=AS_OF)
    assert (found.status, found.facts["birth_date"]) == (NumberStatus.VALID, born)
    assert found.facts["sex"] == ("1" if sequence % 2 else "2")


@given(births(), st.integers(0, 999), st.integers(0, 16), st.integers(1, 9))
def test_every_single_wrong_digit_of_a_citizen_id_is_found(born, sequence, place, shift):
    first = f"440199{born:%Y%m%d}{sequence:03}"
    number = first + citizen_check(first)
    wrong = number[:place] + str((int(number[place]) + shift) % 10) + number[place + 1 :]
    assert validate_citizen_id(wrong, as_of=AS_OF).status is NumberStatus.INVALID


@given(st.dates(date(1900, 1, 1), date(1999, 12, 31)), st.integers(0, 995))
def test_fifteen_digits_and_their_upgrade_agree(born, sequence):
    short = f"440199{born:%y%m%d}{sequence:03}"
    upgraded = validate_citizen_id(short).normalised
    assert upgraded is not None
    assert upgraded[:17] == f"440199{born:%Y%m%d}{sequence:03}"
    assert validate_citizen_id(upgraded).is_valid


@given(st.text(USCC_ALPHABET, min_size=9, max_size=9), st.integers(0, 16), st.integers(1, 30))
def test_every_single_wrong_character_of_a_uscc_is_found(rest, place, shift):
    first = f"91440199{rest}"
    code = first + uscc_check(first)
    values = [USCC_ALPHABET.index(c) for c in code]
    assert sum(v * pow(3, i, 31) for i, v in enumerate(values[:17])) % 31 + values[17] in {0, 31}
    assert validate_uscc(code).is_valid
    wrong = code[:place] + USCC_ALPHABET[(values[place] + shift) % 31] + code[place + 1 :]
    assert validate_uscc(wrong).status is NumberStatus.INVALID


@given(st.text(string.digits + string.ascii_uppercase, min_size=8, max_size=8))
def test_organisation_codes_by_the_letter_of_the_rule(first):
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    c = 11 - sum(int(a, 36) * w for a, w in zip(first, weights, strict=True)) % 11
    assert org_code_check(first) == {10: "X", 11: "0"}.get(c, str(c))
    assert validate_org_code(f"{first}-{org_code_check(first)}").normalised == first + org_code_check(first)


@given(st.text(string.digits, min_size=14, max_size=14), st.integers(0, 13), st.integers(1, 9))
def test_every_single_wrong_digit_of_a_registration_number_is_found(first, place, shift):
    number = first + registration_check(first)
    assert validate_registration_no(number).is_valid
    wrong = number[:place] + str((int(number[place]) + shift) % 10) + number[place + 1 :]
    assert validate_registration_no(wrong).code == "CHECK"


def test_citizen_ids_are_cheap_to_check():
    numbers = [f"440199{date(1960, 1, 1) + timedelta(days=n):%Y%m%d}{n % 900:03}" for n in range(2000)]
    numbers = [first + citizen_check(first) for first in numbers]
    best = 1.0
    for _ in range(5):
        started = time.process_time()
        for number in numbers:
            validate_citizen_id(number)
        best = min(best, (time.process_time() - started) / len(numbers))
    assert best < 12e-6, "measured about 2 µs; four times that means something is badly wrong"
