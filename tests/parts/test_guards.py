"""Every guard that Mainstay ships keeps the promises of its seam, and each does what it is for."""

from __future__ import annotations

import contextlib
import datetime
import gzip
import json
import unicodedata
from itertools import pairwise
from typing import Any

import pydantic
import pytest
from guarding import on_input, said
from hypothesis import example, given
from hypothesis import strategies as st

from mainstay import registry
from mainstay.core.call import Call, Turn
from mainstay.core.draft import Draft, Verdict, refuse, replace
from mainstay.core.evidence import Support
from mainstay.core.model import ImagePart, Message, ModelRequest, TextPart, ToolCall
from mainstay.core.reasons import Reason
from mainstay.core.seams import Hold, Rows
from mainstay.parts.guards.curated import Curated
from mainstay.parts.guards.grounded import Grounded
from mainstay.parts.guards.injection import Injection
from mainstay.parts.guards.language import Language
from mainstay.parts.guards.length import Length
from mainstay.parts.guards.links import Links
from mainstay.parts.guards.personal_data import PersonalData
from mainstay.parts.guards.refusal_detector import RefusalDetector
from mainstay.parts.guards.risks import Risks
from mainstay.parts.guards.schema import Schema, Unreadable, parse
from mainstay.parts.guards.secrets import Secrets
from mainstay.parts.guards.size import Size
from mainstay.parts.guards.slots import Slots
from mainstay.parts.guards.sql import Sql
from mainstay.parts.guards.terms import Terms
from mainstay.parts.guards.unsafe import Unsafe
from mainstay.serve.guarding import Screening
from mainstay.serve.ready import SENTENCE, ReadyGuard
from mainstay.testing import PASSES, _trace, check_cuts, check_guard

PERSON = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}


class Nothing:
    """A database that has no complaint."""

    async def query(self, sql: str, values: Any, *, limit: int, timeout: float) -> Rows:
        return Rows(columns=(), rows=())


class Person(pydantic.BaseModel):
    name: str
    age: int | None = None


class Nobody:
    """An aligner that finds no support."""

    def support(self, sentences: Any, evidence: Any) -> list[Support]:
        return [Support(score=0.0) for _ in sentences]


GUARDS = {
    "size": Size(max=40),
    "size, roomy": Size(),
    "terms": Terms(terms=["AcmeCo", "Foo Bar", "C++"]),
    "terms, retry": Terms(terms=["AcmeCo"], action="retry"),
    "terms, redact": Terms(terms=["AcmeCo", "Foo Bar", "C++"], action="redact"),
    "terms, folded": Terms(terms=["AcmeCo", "Foo Bar"], action="redact", fold=["accents", "confusables", "leet"]),
    "terms, many": Terms(terms=[f"word{i}" for i in range(40)] + ["AcmeCo"]),
    "risks": Risks(),
    "risks, some": Risks(categories=["weapons"]),
    "curated": Curated(aligner=Nobody()),
    "personal_data": PersonalData(),
    "personal_data, refuse": PersonalData(input="refuse", output="refuse", kinds=["email", "card"]),
    "secrets": Secrets(),
    "secrets, refuse": Secrets(action="refuse"),
    "links": Links(allow=["example.com"]),
    "links, retry": Links(action="retry"),
    "length": Length(max_words=12),
    "length, whole": Length(min_words=3, max_words=12, over="cut"),
    "language": Language(allow=["en"]),
    "slots": Slots(),
    "sql": Sql(tables=("t",), database=Nothing()),
    "refusal_detector": RefusalDetector(),
    "injection": Injection(),
    "unsafe": Unsafe(),
    "schema": Schema(schema=PERSON),
    "schema, pydantic": Schema(model=Person),
    "grounded": Grounded(),
}
TEXTS = (
    "Buy it from AcmeCo or from Foo  Bar, they say.",
    "AcmeCorp and foobar are other words; C++ is not.",
    "AcmeCo",
    "xAcmeCo",
    "Nothing to see here. " * 20,
    'Here you are: {"name": "Ann", "age": "42"}',
    '{"nme": "Ann"}',
    "It has 17 rooms, and Zora Quist has the key. Nothing else.",
    "select a from t; drop table t",
    "```sql\nselect a, count(*) from t group by a\n```",
    "A\u200bcme\u00adCo and AcmeC\u0308o and ＡｃｍｅＣｏ! acmeco\u200b\u200b\u200b\u200bx AcmeCo\u0301",
)


# The seam


def test_every_guard_that_is_installed_is_in_the_suite():
    """A new guard cannot be forgotten here."""
    assert set(registry.offered("guards")) <= {name.partition(",")[0] for name in GUARDS}


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
async def test_a_guard_says_the_same_of_a_text_in_any_cut(guard):
    """Verdicts are well formed, odd texts do no harm, and a text cannot be smuggled out in pieces."""
    await check_guard(guard, TEXTS)


ALPHABET = "AcmeCo acmeco Foo Bar C++.,\n aｃß\u0301\u0337\u200b\u00ad\u3000用é-"
words = st.sampled_from(
    [
        "AcmeCo",
        "acmeco",
        "AcmeCorp",
        "Foo",
        "Bar",
        "Foo Bar",
        "Foo\u00a0bar",
        "C++",
        "c",
        "++",
        "A\u200bcmeCo",
        "Acme",
        "Co",
        "用",
        "ﬁ",
        "x",
    ]
)
growing = st.one_of(
    st.text(ALPHABET, max_size=60), st.lists(st.one_of(words, st.text(ALPHABET, max_size=3)), max_size=14).map("".join)
)


@pytest.mark.parametrize("name", [name for name in GUARDS if name.startswith(("terms", "size"))])
@given(text=growing, cuts=st.lists(st.integers(0, 80), max_size=8))
@example(text="acmeco\u0337\u0337\u0337\u0337rp and on and on and on", cuts=[7, 8, 9, 10])
@example(text="zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzxAcmeCo. zzzzzzzzzzzzzzzzzzzzzzzzzzzz", cuts=list(range(80)))
async def test_no_cut_of_a_growing_text_changes_what_becomes_of_it(name, text, cuts):
    """Any text, cut anywhere: the same verdict as on the whole, the same text shown, and nothing shown of a term."""
    guard = GUARDS[name]
    places = [0, *sorted({c for c in cuts if c < len(text)}), len(text)]
    pieces = [text[a:b] for a, b in pairwise(places) if a < b]
    whole = said(guard, text)
    shown = await check_cuts(ReadyGuard(name, guard, guard.hold), text, pieces, whole)
    if isinstance(guard, Terms) and whole.action not in PASSES:
        first = next(iter(guard._in_text(text)))
        assert len(shown) <= first.start, "a part of a term was shown"


class Sentences:
    """A guard that has to see whole sentences."""

    hold = Hold.SENTENCE

    async def check(self, draft: Draft) -> Verdict:
        return refuse(Reason.UNGROUNDED) if "false." in draft.text else said(GUARDS["size, roomy"])


async def shown_by(guards: list[tuple[Any, int]], pieces: list[str]) -> tuple[str, Verdict | None]:
    """What several guards together let out of a text that grows by these pieces, before its end."""
    released: list[str] = []
    ready = tuple(ReadyGuard(type(g).__name__, g, hold) for g, hold in guards)
    screening = Screening(_trace(), rung="r", guards=ready, early=True, release=released.append)
    for piece in pieces:
        if stop := await screening.add(piece):
            return "".join(released), stop
    return "".join(released), None


async def test_the_widest_hold_of_several_guards_is_kept_by_each():
    """A sentence's end does not let out the beginning of a term that goes on behind it."""
    terms = Terms(terms=["Yahoo! Mail"])
    guards = [(Sentences(), SENTENCE), (terms, terms.hold)]
    shown, _ = await shown_by(guards, ["We like it. Ask at Yahoo! ", "Mail today. And so on, and so on and so forth."])
    assert "Yahoo" not in shown
    shown, stop = await shown_by([(Sentences(), SENTENCE)], ["It is true. It is fal", "se."])
    assert (shown, stop is not None) == ("It is true.", True)


@pytest.mark.parametrize(
    ("check", "detail"),
    [
        (lambda draft: 1 / 0, "the guard Faulty failed: ZeroDivisionError: division by zero"),
        (lambda draft: None, "the guard Faulty gave no verdict but None"),
        (lambda draft: Verdict(action="block"), "the guard Faulty gave no verdict but Verdict(action='block'"),  # type: ignore[arg-type]
        (lambda draft: replace(text="other") if draft.shown else said(GUARDS["size, roomy"]), "changed what was shown already"),
    ],
)
async def test_a_faulty_guard_stops_the_draft(check, detail):
    """A guard that raises, says nothing sensible, or rewrites history lets nothing out: unchecked text never leaves."""

    class Faulty:
        hold = 0

        async def check(self, draft: Draft) -> Verdict:
            return check(draft)

    _, stop = await shown_by([(Faulty(), 0)], ["one ", "two ", "three"])
    assert stop is not None and stop.action == "refuse" and detail in stop.detail


async def test_a_guard_that_fails_on_the_input_refuses_it(opened):
    """The same on the way in, through the front door: a typed refusal, and not a crash of the call."""
    module = "class Broken:\n    hold = 0\n    async def check(self, draft):\n        raise KeyError('x')\n"
    feature = 'summary = "A"\n[[ladder]]\nmessage = "Sorry."\n[guards]\ninput = ["guards_that_break:Broken"]\n'
    app = opened(feature=feature, files={"guards_that_break.py": module})
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.reason) == ("refused", "unsafe_input")
    assert "the guard guards_that_break:Broken failed: KeyError" in answer.detail


# size


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("x" * 41, "question has 41 characters; at most 40"),
        (" \n ", "question is empty"),
        ("a\x00b", "question holds the control character U+0000 at 1"),
        ("a\x1b[31m", "question holds the control character U+001B at 1"),
        ("a\u009bb", "question holds the control character U+009B at 1"),
        ("a\ud800b", "question holds the control character U+D800 at 1"),
        ("a\ufffeb", "question holds the control character U+FFFE at 1"),
    ],
)
def test_size_says_what_is_wrong_with_an_input(text, detail):
    """Empty, too long or unreadable input gets a sentence with its place."""
    verdict = on_input(Size(max=40), question=text)
    assert (verdict.action, verdict.reason, verdict.detail) == ("refuse", "input_invalid", detail)


def test_size_takes_what_people_write():
    """Line ends, tabs, emoji and every script pass; so does an empty text beside one that says something."""
    assert on_input(Size(), question="Zeile 1\r\n\tZeile 2 👩‍👩‍👧 汉字", note="").action == "allow"
    assert on_input(Size(), note="", count=3).action == "allow"
    assert on_input(Size(), question="Hi", history=(Turn("assistant", ""),)).action == "allow"


def test_size_looks_at_everything_that_comes_in():
    """Nested texts and earlier turns count, each by itself and all together."""
    nested = on_input(Size(max=5), question="ok", more={"deep": ["too long"]})
    assert nested.detail == "more.deep[0] has 8 characters; at most 5"
    turn = on_input(Size(max=5), question="ok", history=(Turn("user", "too long"),))
    assert turn.detail == "history[0].text has 8 characters; at most 5"
    total = on_input(Size(max=5, total=9), a="12345", b="12345")
    assert total.detail == "all texts together have 10 characters; at most 9"


def test_size_of_a_plain_models_messages():
    """A request without a word, an image or a tool call is refused; one with an image alone is not."""

    def asked(*messages: Message) -> Verdict:
        return on_input(Size(), request=ModelRequest(messages=messages))

    assert asked(Message("user", "")).detail == "messages hold no text"
    assert asked(Message("user", (ImagePart("https://example.com/a.png"),))).action == "allow"
    assert asked(Message("user", (TextPart("a\x00"),))).action == "refuse"


# terms


@pytest.mark.parametrize(
    ("term", "text", "found"),
    [
        ("AcmeCo", "from acmeco.", "acmeco"),
        ("AcmeCo", "AcmeCo", "AcmeCo"),
        ("AcmeCo", "AcmeCorp", ""),
        ("AcmeCo", "MyAcmeCo", ""),
        ("AcmeCo", "AcmeCo2", ""),
        ("AcmeCo", "AcmeCo's", "AcmeCo"),
        ("Acme Co", "Acme\u00a0\u2003Co", "Acme\u00a0\u2003Co"),
        ("Acme Co", "Acme\nCo", "Acme\nCo"),
        ("C++", "I like C++.", "C++"),
        ("a.b", "axb", ""),
        ("a.b", "a.b", "a.b"),
        ("(x|y)*[z]", "is (X|Y)*[Z] so", "(X|Y)*[Z]"),
        ("\\d", "1 \\d", "\\d"),
        (".NET", "the .net way", ".net"),
        ("Straße", "STRASSE 5", "STRASSE"),
        ("strasse", "Straße 5", "Straße"),
        ("istanbul", "İSTANBUL", "İSTANBUL"),
        ("ısparta", "ISPARTA", "ISPARTA"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος", "σίσυφος"),
        ("café", "cafe\u0301", "cafe\u0301"),
        ("café", "cafe", ""),
        ("AcmeCo", "ＡｃｍｅＣｏ", "ＡｃｍｅＣｏ"),
        ("office", "oﬃce", "oﬃce"),
        ("AcmeCo", "A\u200bc\u200bm\u200be\u200bC\u200bo", "A\u200bc\u200bm\u200be\u200bC\u200bo"),
        ("AcmeCo", "Acme\u00adCo", "Acme\u00adCo"),
        ("AcmeCo", "A\u0337c\u0337m\u0337e\u0337C\u0337o", "A\u0337c\u0337m\u0337e\u0337C\u0337o"),
        ("AcmeCo", "用AcmeCo购买", "AcmeCo"),
        ("阿里巴巴", "请用阿里巴巴购物", "阿里巴巴"),
        ("삼성", "삼성은 좋다", "삼성"),
        ("राम", "राम जी", "राम"),
        ("राम", "रामा", ""),
        ("ガス", "ｶﾞｽ", "ｶﾞｽ"),
        ("ab", "abc ab", "ab"),
    ],
)
def test_terms_finds_a_word_however_it_is_written(term, text, found):
    """Case, compatibility forms, blanks, hidden characters and accents written in two; and word ends where a script has them."""
    verdict = said(Terms(terms=[term]), text)
    expected = f"the term {found!r} must not appear" if found else ""
    assert (verdict.action, verdict.detail) == ("refuse" if found else "allow", expected)


def test_a_longer_term_does_not_hide_a_shorter_one():
    """Terms that overlap are each looked for: `ab-c` fails at its end, and `ab` is still a word there."""
    assert said(Terms(terms=["ab-c", "ab"]), "ab-cd").detail == "the term 'ab' must not appear"
    assert said(Terms(terms=["foo bar", "bar baz"]), "a foo-bar baz").action == "refuse"


def test_redact_blacks_out_the_terms_and_nothing_else():
    """What is around a term stays as it was written, characters that are only compared in another form too."""
    verdict = said(Terms(terms=["AcmeCo", "x y"], action="redact"), "½ AcmeCo AcmeCo, x\u00a0y ① ﬁn")
    assert verdict.text == "½ ██████ ██████, ███ ① ﬁn"
    overlapping = said(Terms(terms=["foo bar", "bar baz"], action="redact"), "foo bar baz")
    assert overlapping.text == "███████ baz"


def test_terms_are_found_in_data_behind_any_escape():
    """Structured answers are looked at as data, keys too: `\\u0043` in JSON hides nothing."""
    guard = Terms(terms=["AcmeCo"])
    text = '{"a": ["Acme\\u0043o"]}'
    assert said(guard, text, data={"a": ["AcmeCo"]}).action == "refuse"
    assert said(guard, "", data={"a": {"AcmeCo": 1}}).action == "refuse"
    assert said(guard, text, data={"a": ["Acme", 3, None]}).action == "allow"
    redact = Terms(terms=["AcmeCo"], action="redact")
    assert said(redact, "", data={"a": ["by AcmeCo", 3]}).data == {"a": ["by ██████", 3]}
    assert said(redact, "", data={"AcmeCo": 1}).action == "refuse"


def test_terms_are_found_in_a_tools_arguments():
    """A tool call is an answer too, and its arguments are JSON that can hide a term behind an escape."""
    guard = Terms(terms=["AcmeCo"])
    for name, arguments in [("f", '{"q": "AcmeCo"}'), ("f", '{"q": "Acme\\u0043o"}'), ("f", "AcmeCo {"), ("AcmeCo", "{}")]:
        assert said(guard, tool_calls=(ToolCall("1", name, arguments),)).action == "refuse"
    assert said(guard, tool_calls=(ToolCall("1", "f", '{"q": "Acme"}'),)).action == "allow"


def test_terms_on_an_input_are_refused_with_their_place():
    """Whatever is done on the way out, an input cannot be rewritten."""
    verdict = on_input(Terms(terms=["AcmeCo"], action="redact"), question="ok", more=["see AcmeCo"])
    assert (verdict.action, verdict.detail) == ("refuse", "more[0] holds the term 'AcmeCo'")


@given(st.text(max_size=40), st.text(max_size=8))
def test_a_term_is_found_in_itself(text, term):
    """Whatever a term is made of, it is found where it stands between blanks."""
    folded = unicodedata.normalize("NFKC", term)
    try:
        guard = Terms(terms=[term])
    except ValueError:
        return
    if len(folded) <= 2 * len(term) and len(term) <= 2 * len(folded) + 4:
        assert said(guard, f"{text} {term} {text}").action == "refuse"


# schema


SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id"],
    "properties": {
        "id": {"type": "integer"},
        "price": {"type": "number"},
        "ok": {"type": "boolean"},
        "none": {"type": "null"},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "name": {"type": "string"},
        "kind": {"enum": ["billing", "delivery", 3]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "counts": {"type": "array", "items": {"type": "integer"}},
        "when": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "by": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "inner": {
            "type": "array",
            "items": {"type": "object", "required": ["n"], "properties": {"n": {"type": ["number", "null"]}}},
        },
    },
}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"id": "42"}', {"id": 42}),
        ('{"id": 42.0}', {"id": 42.0}),
        ('{"id": " +7 "}', {"id": 7}),
        ('{"id": "9007199254740993"}', {"id": 9007199254740993}),
        ('{"id": "1,234,567"}', {"id": 1234567}),
        ('{"id": 1, "price": "1,234.50"}', {"id": 1, "price": 1234.5}),
        ('{"id": 1, "price": "1e3"}', {"id": 1, "price": 1000.0}),
        ('{"id": 1, "ok": "True"}', {"id": 1, "ok": True}),
        ('{"id": 1, "none": "null"}', {"id": 1, "none": None}),
        ('{"id": 1, "maybe": "42"}', {"id": 1, "maybe": 42}),
        ('{"id": 1, "maybe": ""}', {"id": 1, "maybe": None}),
        ('{"id": 1, "name": 5}', {"id": 1, "name": "5"}),
        ('{"id": 1, "name": null}', {"id": 1}),
        ('{"id": 1, "kind": " Billing"}', {"id": 1, "kind": "billing"}),
        ('{"id": 1, "kind": "3"}', {"id": 1, "kind": 3}),
        ('{"id": 1, "tags": "a"}', {"id": 1, "tags": ["a"]}),
        ('{"id": 1, "counts": "5"}', {"id": 1, "counts": [5]}),
        ('{"id": 1, "tags": "[\\"a\\", \\"b\\"]"}', {"id": 1, "tags": ["a", "b"]}),
        ('{"id": 1, "inner": {"n": "1.5"}}', {"id": 1, "inner": [{"n": 1.5}]}),
        ('{"id": 1, "inner": [{"n": "1.5"}, {"n": "null"}]}', {"id": 1, "inner": [{"n": 1.5}, {"n": None}]}),
        ('{"id": 1, "when": "21.11.2026"}', {"id": 1, "when": "2026-11-21"}),
        ('{"id": 1, "when": "2026-1-2"}', {"id": 1, "when": "2026-01-02"}),
        ('{"id": 1, "when": "November 21, 2026"}', {"id": 1, "when": "2026-11-21"}),
        ('{"id": 1, "when": "21/11/2026"}', {"id": 1, "when": "2026-11-21"}),
        ('{"id": 1, "when": "2026-11-21T08:00:00Z"}', {"id": 1, "when": "2026-11-21"}),
        ('{"id": 1, "by": "21 Nov 2026"}', {"id": 1, "by": "2026-11-21"}),
        ('{"id": 1, "at": "2026-11-21 08:00"}', {"id": 1, "at": "2026-11-21T08:00:00+00:00"}),
        ('{"id": 1, "at": "2026-11-21T08:00:00+01:00"}', {"id": 1, "at": "2026-11-21T08:00:00+01:00"}),
        ('Sure! Here it is:\n```json\n{"id": 1,}\n```\nAnything else?', {"id": 1}),
        ("{'id': 1, name: 'it'}", {"id": 1, "name": "it"}),
        ('As [1] says: {"id": 1}', {"id": 1}),
        ('{"id": 5} no, I mean {"id": 1}', {"id": 1}),
        ('<think>{"x": 5}</think>\n{"id": 1}', {"id": 1}),
        ('{"id": 1', {"id": 1}),
    ],
)
def test_what_can_mean_only_one_thing_is_put_right(written, read):
    """Numbers, booleans, null, dates, options, single values for arrays, nested and in unions; and JSON with prose around it."""
    verdict = said(Schema(schema=SCHEMA), written)
    assert (verdict.action, verdict.data) == ("replace", read)
    assert type(verdict.data["id"]) is type(read["id"])


@pytest.mark.parametrize(
    ("written", "remark"),
    [
        ("Sorry, I cannot do that.", "the answer is not JSON; write the JSON value alone"),
        ('{"price": 1}', 'at $: "id" is a required property'),
        ('{"id": "many"}', 'at $.id: "many" is not of type "integer"'),
        ('{"id": "42.5"}', 'at $.id: 42.5 is not of type "integer"'),
        ('{"id": "1,234"}', 'at $.id: "1,234" is not of type "integer"'),
        ('{"id": 1, "when": "05/06/2026"}', 'at $.when: "05/06/2026" is not a "date"'),
        ('{"id": 1, "when": "2026-02-30"}', 'at $.when: "2026-02-30" is not a "date"'),
        ('{"id": null}', 'at $.id: null is not of type "integer"'),
        ('{"id": 1, "inner": [{"n": 1}, {"m": 2}]}', 'at $.inner[1]: "n" is a required property'),
        ('{"id": 1, "price": NaN}', "the answer holds a number or a character that JSON does not know"),
        ('{"id": 1, "price": "1e999"}', 'at $.price: "1e999" is not of type "number"'),
        ('{"id": 1, "name": "\\ud800",}', "the answer holds a number or a character that JSON does not know"),
        ('first {"id": 1} then {"id": 2, "ok": true}', 'at $: [{"id":1},{"id":2,"ok":true}] is not of type "object"'),
        ("[" * 100_000, "the answer is no JSON that can be repaired: it is too long, or nested too deeply"),
        ('{"a":' * 100_000, "the answer is no JSON that can be repaired: it is too long, or nested too deeply"),
        ("{" * 50_000, "the answer is no JSON that can be repaired: it is too long, or nested too deeply"),
    ],
)
def test_what_does_not_fit_is_asked_for_again_with_its_place(written, remark):
    """The model is told the path and the fault; nothing with two readings is guessed, and nothing deep or endless holds us up."""
    verdict = said(Schema(schema=SCHEMA), written)
    assert (verdict.action, verdict.reason, verdict.remark) == ("retry", "schema_invalid", remark)


async def test_a_long_repair_leaves_the_event_loop():
    """A long broken answer is read beside other calls, and read right."""
    long = '{"id": 1, "tags": [' + ", ".join(f"'t{i}'" for i in range(1000)) + "]"
    verdict = await Schema(schema=SCHEMA).check(Draft(call=Call(id="t", feature="f"), text=long))
    assert verdict.data["tags"][-1] == "t999"


def test_data_that_fits_is_left_alone():
    """Data from the cache is checked again, and passes as it is."""
    guard = Schema(schema=SCHEMA)
    assert said(guard, data={"id": 1}).action == "allow"
    assert said(guard, data={"id": "x"}).action == "retry"


class Item(pydantic.BaseModel):
    when: datetime.date
    count: int = pydantic.Field(alias="itemCount", ge=1)


def test_a_pydantic_model_reads_for_itself():
    """The data comes as JSON under the names that the schema shows, reads back from the cache, and faults name their path."""
    guard = Schema(model=Item)
    verdict = said(guard, '{"when": "2026-11-21", "itemCount": "3"}')
    assert verdict.data == {"when": "2026-11-21", "itemCount": 3}
    assert said(guard, data=verdict.data).data == verdict.data
    assert (
        said(guard, '{"when": "2026-11-21", "itemCount": 0}').remark
        == "at $.itemCount: Input should be greater than or equal to 1"
    )
    assert said(guard, '{"itemCount": 1}').remark == "at $.when: Field required"


def test_a_schema_guard_needs_one_schema():
    """Named without a schema it would let everything through."""
    with pytest.raises(ValueError, match="it needs the schema or the model"):
        Schema()
    with pytest.raises(ValueError, match="JSON Schema is not valid"):
        Schema(schema={"$ref": "https://example.com/schema.json"})


REPAIRED = 1.0  # the share of the rows that came out as expected when this was last measured (97 of 97)


def test_broken_json_of_real_users(data, capsys):
    """Broken JSON from users' issues parses to what they meant, or to nothing where there is nothing; the share is printed."""
    with gzip.open(data / "json_schema" / "broken_json_repair.jsonl.gz") as lines:
        rows = [json.loads(line) for line in lines]
    good = 0
    for row in rows:
        try:
            value = parse(row["input"])
            good += value == row["expected"] and not row["expect_nothing"]
        except Unreadable:
            good += row["expect_nothing"]
    with capsys.disabled():
        print(f"\nbroken JSON: {good} of {len(rows)} rows as expected ({good / len(rows):.1%})")
    assert good / len(rows) >= REPAIRED


def test_the_json_suite_is_read_strictly(data):
    """What is JSON is read as itself; what is not never crashes, hangs, or turns into something that cannot be sent."""
    with gzip.open(data / "json_schema" / "json_test_suite.jsonl.gz") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows:
        if "text" not in row:
            continue
        if row["expect"] == "accept":
            assert parse(row["text"]) == json.loads(row["text"]), row["id"]
            continue
        with contextlib.suppress(Unreadable):
            json.dumps(parse(row["text"]), allow_nan=False)
