"""What the log policy `redacted` takes for personal data, and what it leaves."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstay.core.check_digits import iban, luhn
from mainstay.core.personal_data import find, mask

MASKED = {
    "Write to ann.lee+shop@mail.example.org, please.": "Write to [email], please.",
    "Jürgen@bücher.de und иван@почта.рф": "[email] und [email]",
    "ann@example.org;bob@example.org": "[email];[email]",
    "ann＠example.org": "[email]",
    "My card is 4111 1111 1111 1111 (exp. 12/27)": "My card is [card] (exp. 12/27)",
    "card 4111-1111-1111-1111.": "card [card].",
    "378282246310005": "[card]",
    "4111 1111 1111 1111": "[card]",
    "٤١١١١١١١١١١١١١١١": "[card]",
    "IBAN DE89 3704 0044 0532 0130 00 at the bank": "IBAN [iban] at the bank",
    "gb82west12345698765432": "[iban]",
    "DE89370400440532013000 is mine": "[iban] is mine",
    "from 203.0.113.7:8080 and 2001:db8::7": "from [ip]:8080 and [ip]",
    "SSN 123-45-6789": "SSN [ssn]",
    "Call +44 20 7946 0958 or (555) 123-4567": "Call [phone] or [phone]",
    "030 1234567": "[phone]",
    "my phone number is 5551234567": "my phone number is [phone]",
    "a@b.example, 123-45-6789, 4111111111111111": "[email], [ssn], [card]",
}

MASKED |= {
    "Steuer-ID: 86095742719": "Steuer-ID: [national_id]",
    "IdNr. 86 095 742 719": "IdNr. [national_id]",
    "NIR 2 55 08 14 168 025 38": "NIR [national_id]",
    "DNI 12345678Z y NIE X-1234567-L": "DNI [national_id] y NIE [national_id]",
    "CF RSSMRA85T10A562S": "CF [national_id]",
    "BSN 111222333": "BSN [national_id]",
    "NINO AB 12 34 56 C": "NINO [national_id]",
    "CPF 529.982.247-25": "CPF [national_id]",
    "Aadhaar 2341 2341 2346": "Aadhaar [national_id]",
    "PESEL 44051401359": "PESEL [national_id]",
    "personnummer 811218-9876": "personnummer [national_id]",
    "AHV 756.9217.0769.85": "AHV [national_id]",
    "henkilötunnus 131052-308T": "henkilötunnus [national_id]",
    "My SSN is 123456789": "My SSN is [ssn]",
    "passport number C01X00T47": "passport number [passport]",
    "Reisepass C01X00T47, Führerschein B072RRE2I55": "Reisepass [passport], Führerschein [licence]",
    "born on 21 May 1980, geboren am 21.11.1980": "born on [birth_date], geboren am [birth_date]",
    "née le 3/4/1971": "née le [birth_date]",
    "出生日期：1980年5月21日": "出生日期：[birth_date]",
    "at 12 High Street, Apt 5": "at [address]",
    "in der Hauptstraße 5, 10115 Berlin": "in der [address]",
    "au 12 rue de la Paix, 75002 Paris": "au [address]",
    "en la calle Mayor 5": "en la [address]",
    "https://ann:pw@example.org/x and https://x.example/?a=1&email=ann": "[url] and [url]",
    "Ref GB12 DE89 3704 0044 0532 0130 00": "Ref GB12 [iban]",
}

KEPT = [
    "BSN 111222334, CPF 529.982.247-26, DNI 12345678A, 86095742719, 111222333",
    "Stand 20261121143000, id 1763724600000, Auf Platz 1 und Parkplatz 12",
    "Aadhaar 2341 2341 2345, PESEL 44051401358, AHV 756.9217.0769.86, personnummer 811218-9875, CF RSSMRA85T10A562T",
    "born to be wild, the passport office, licence terms 2.0",
    "",
    "Order 12-3456-78 of 2026-11-21 at 14:30:00 costs 1,234.50 EUR",
    "version 1.2.3, chapter 10.4, 50% of 1 000 000",
    "card 4111 1111 1111 1112",
    "DE89 3704 0044 0532 0130 02",
    "000-12-3456 666-12-3456 900-12-3456 123-00-6789 123-45-0000",
    "999.1.2.3",
    "0000 0000 0000 0000",
    "see user@localhost and @handle",
    "21.11.2026",
    "a::b and std::vector",
]


@pytest.mark.parametrize(("text", "masked"), MASKED.items())
def test_what_is_personal_is_masked(text, masked):
    """Each kind is found by its shape, and nothing beside it is taken with it."""
    assert mask(text) == masked


@pytest.mark.parametrize("text", KEPT)
def test_what_is_not_personal_stays(text):
    """Order numbers, dates, versions, prices and numbers with a wrong check digit can still be read in a record."""
    assert mask(text) == text


def test_offsets_are_those_of_the_text():
    """What is found stands where it says, also behind characters of other scripts and lone surrogates."""
    text = "\U0001f600\ud800 汉字 ann@example.org 4111 1111 1111 1111 \u0660"
    assert [(f.kind, text[f.start : f.end]) for f in find(text)] == [
        ("email", "ann@example.org"),
        ("card", "4111 1111 1111 1111"),
    ]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from("0123456789 .-+()@:aDE\u0661\uff20\ud800\n"), max_size=120))
def test_any_text_is_masked_in_order(text: str):
    """No text makes it raise, what is found never overlaps, and each find leaves its mark in the masked text."""
    found = find(text)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert all(f.start < f.end for f in found)
    outside = mask(text)
    for f in found:
        assert f"[{f.kind}]" in outside


def test_long_texts_take_linear_time():
    """A hundred thousand characters that look almost like something are read in well under the time of a call."""
    for text in ("1" * 100_000, "a@" * 50_000, "1 " * 50_000, "DE89 " * 20_000, "1:" * 50_000, "(" * 100_000):
        mask(text)


def test_check_digits():
    """The published examples of both schemes, and the same with one digit changed."""
    assert luhn("79927398713") and not luhn("79927398710")
    assert iban("GB82 WEST 1234 5698 7654 32") and not iban("GB82 WEST 1234 5698 7654 33")
