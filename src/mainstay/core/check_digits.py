"""Numbers that prove themselves: check digits of cards, accounts and national identity numbers.

Each function takes the digits (and letters, in capitals) alone, without blanks, dots or hyphens, and says whether they fit.
"""

from __future__ import annotations

from collections.abc import Callable

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def luhn(digits: str) -> bool:
    """The check digit of card numbers (ISO/IEC 7812-1, annex B)."""
    values = [ord(char) - 48 for char in reversed(digits)]
    return (sum(values[::2]) + sum([_DOUBLED[value] for value in values[1::2]])) % 10 == 0


# The first digits of the cards that are issued, by how many digits they have.
_MAESTRO = ("50", "56", "57", "58", "60", "63", "67")
_ISSUED: dict[int, tuple[str, ...]] = {
    12: _MAESTRO,
    13: ("4", *_MAESTRO),
    14: ("30", "36", "38", "39", *_MAESTRO),
    15: ("34", "37", "1800", "2131", *_MAESTRO),
    16: ("4", "51", "52", "53", "54", "55", "22", "23", "24", "25", "26", "27", "35", "6", *_MAESTRO),
    17: ("62", *_MAESTRO),
    18: ("62", *_MAESTRO),
    19: ("4", "62", *_MAESTRO),
}


def card(digits: str) -> bool:
    """A card number: the length and first digits of one that is issued, and the check digit."""
    issued = _ISSUED.get(len(digits))
    return issued is not None and digits.startswith(issued) and luhn(digits) and len(set(digits)) > 1


# The countries of the IBAN registry (ISO 13616), by the length of their numbers.
IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FK FO FI GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def iban(text: str) -> bool:
    """The length and the check digits of an account number (ISO 13616: modulo 97 is 1)."""
    compact = text.replace(" ", "").upper()
    if len(compact) != IBAN_LENGTHS.get(compact[:2]):
        return False
    moved = compact[4:] + compact[:4]
    return int("".join([str(int(c, 36)) for c in moved])) % 97 == 1


def _weighted(digits: str, weights: tuple[int, ...]) -> int:
    return sum([(ord(d) - 48) * w for d, w in zip(digits, weights, strict=False)])


def us_ssn(digits: str) -> bool:
    """Area, group and serial are never all zeros, and no area is 666 or above 899."""
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def us_itin(digits: str) -> bool:
    """The tax number of who has no social security number: begins with 9, and its group is one of those that are given out."""
    group = int(digits[3:5])
    return digits[0] == "9" and (50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99)


def de_tax(digits: str) -> bool:
    """Steueridentifikationsnummer (ISO/IEC 7064 MOD 11,10); among the first ten digits one stands twice or three times."""
    if digits[0] == "0" or not 8 <= len(set(digits[:10])) <= 9:
        return False
    product = 10
    for d in digits[:10]:
        total = (int(d) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def fr_nir(digits: str) -> bool:
    """Numéro de sécurité sociale: 97 less the rest of the first thirteen digits."""
    return digits[0] in "123478" and 97 - int(digits[:13]) % 97 == int(digits[13:])


def es_id(text: str) -> bool:
    """DNI and NIE: the letter belongs to the rest of the number by 23."""
    digits = str("XYZ".index(text[0])) + text[1:-1] if text[0] in "XYZ" else text[:-1]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == text[-1]


_ODD_VALUES = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21) * 2 + (2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", _ODD_VALUES, strict=True))


def it_code(text: str) -> bool:
    """Codice fiscale: the last letter sums up the others, those in odd places by a table."""
    total = sum([_ODD[c] if i % 2 == 0 else int(c, 36) - 10 * c.isalpha() for i, c in enumerate(text[:15])])
    return chr(65 + total % 26) == text[15]


def nl_bsn(digits: str) -> bool:
    """Burgerservicenummer: the test of eleven."""
    return digits != "000000000" and _weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def br_cpf(digits: str) -> bool:
    """CPF: two check digits modulo eleven."""
    if len(set(digits)) == 1:
        return False
    first = _weighted(digits, tuple(range(10, 1, -1))) * 10 % 11 % 10
    second = _weighted(digits, tuple(range(11, 1, -1))) * 10 % 11 % 10
    return digits[9:] == f"{first}{second}"


def _composed(i: int, j: int) -> int:
    """What turning and flipping a pentagon in the i-th way and then in the j-th amounts to."""
    if i < 5:
        return (i + j) % 5 + (5 if j > 4 else 0)
    return (i - j) % 5 + (0 if j > 4 else 5)


_DIHEDRAL = tuple([tuple([_composed(i, j) for j in range(10)]) for i in range(10)])
_TURNED = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def verhoeff(digits: str) -> bool:
    """The check digit of the group of turns and flips of a pentagon (Verhoeff, 1969)."""
    check, turned = 0, tuple(range(10))
    for d in reversed(digits):
        check = _DIHEDRAL[check][turned[int(d)]]
        turned = tuple([_TURNED[t] for t in turned])
    return check == 0


def in_aadhaar(digits: str) -> bool:
    """Aadhaar: does not begin with 0 or 1; Verhoeff."""
    return digits[0] not in "01" and verhoeff(digits)


def pl_pesel(digits: str) -> bool:
    """PESEL: weights 1, 3, 7, 9."""
    return _weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0 and 1 <= int(digits[2:4]) % 20 <= 12


def se_person(digits: str) -> bool:
    """Personnummer: a day, and Luhn over its last ten digits."""
    short = digits[-10:]
    return 1 <= int(short[2:4]) <= 12 and 1 <= int(short[4:6]) % 60 <= 31 and luhn(short)


def no_person(digits: str) -> bool:
    """Fødselsnummer: a day, and two check digits modulo eleven."""
    day = 1 <= int(digits[:2]) % 40 <= 31 and 1 <= int(digits[2:4]) <= 12
    first = _weighted(digits, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1))
    return day and first % 11 == 0 and _weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def be_person(digits: str) -> bool:
    """Rijksregisternummer: 97 less the rest, for those born since 2000 with a 2 before it."""
    body, check = digits[:9], int(digits[9:])
    return 97 - int(body) % 97 == check or 97 - int("2" + body) % 97 == check


def fi_person(text: str) -> bool:
    """Henkilötunnus: the last sign belongs to the rest by 31."""
    digits = text[:6] + text[-4:-1]
    return "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31] == text[-1]


def ch_ahv(digits: str) -> bool:
    """AHV number: begins with 756, and ends as bar codes do."""
    return digits.startswith("756") and _weighted(digits, (1, 3) * 7) % 10 == 0


# National numbers of digits alone: how many, the test, what they are called, and the groups in which they are written when no
# word says what they are (where that is telling enough).
NUMBERS: tuple[tuple[int, Callable[[str], bool], str, tuple[int, ...]], ...] = (
    (11, de_tax, r"steuer|tax|idnr|identifikationsn", (2, 3, 3, 3)),
    (15, fr_nir, r"s[ée]curit[ée] sociale|\bnir\b|insee|social security", (1, 2, 2, 2, 3, 3, 2)),
    (9, nl_bsn, r"bsn|burgerservice|sofi", ()),
    (11, br_cpf, r"\bcpf\b", (3, 3, 3, 2)),
    (12, in_aadhaar, r"aadha+r|uidai|आधार", ()),
    (11, pl_pesel, r"pesel", ()),
    (10, se_person, r"person(?:nummer|nr)|personal (?:identity )?number", (6, 4)),
    (12, se_person, r"person(?:nummer|nr)|personal (?:identity )?number", (8, 4)),
    (11, no_person, r"f[øo]dsels|personnummer", (6, 5)),
    (11, be_person, r"rijksregister|registre national|national register", (2, 2, 2, 3, 2)),
    (13, ch_ahv, r"\bahv\b|\bavs\b", (3, 4, 4, 2)),
    (9, us_itin, r"itin|taxpayer|tax", (3, 2, 4)),
    (9, us_ssn, r"\bssn\b|social security", (3, 2, 4)),
)
