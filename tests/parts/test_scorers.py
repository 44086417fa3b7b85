"""Every scorer that Mainstay ships keeps the promises of its seam, and each does what it is for."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstay import registry
from mainstay.core.answer import Answer, Citation
from mainstay.core.call import Call
from mainstay.core.case import Case
from mainstay.core.evidence import Passage, Viewer
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Begun, Outcome, Record
from mainstay.core.report import Opinion, accepts
from mainstay.core.seams import Subject
from mainstay.core.units import Seconds, Usd
from mainstay.indexing import Knowledge, refresh
from mainstay.learn.scoring import ReadyScorer, Scoring
from mainstay.parts.numerals import decimal_mark, numerals
from mainstay.parts.readers.folder import Folder
from mainstay.parts.scorers.citations import Citations
from mainstay.parts.scorers.cites import Cites
from mainstay.parts.scorers.contains import Contains
from mainstay.parts.scorers.cost import Cost
from mainstay.parts.scorers.data import Data
from mainstay.parts.scorers.exact import Exact
from mainstay.parts.scorers.judged import Judged
from mainstay.parts.scorers.latency import Latency
from mainstay.parts.scorers.number import Number
from mainstay.parts.scorers.refused import Refused
from mainstay.parts.scorers.regex import Regex
from mainstay.parts.scorers.schema import Schema
from mainstay.parts.scorers.similarity import Similarity, similarity
from mainstay.parts.sources.indexed import Indexed
from mainstay.parts.stores.sqlite_index import SqliteIndex
from mainstay.testing import check_scorer

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
CITY = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}


def answer(text: str = "", data: Any = None, **fields: Any) -> Answer:
    return Answer(**{"id": "r", "feature": "f", "release": "d", "status": Status.ANSWERED, "text": text, "data": data, **fields})


def record(of: Answer, input: Mapping[str, Any] | None = None, **outcome: Any) -> Record:
    call = Call(id=of.id, feature=of.feature, input=dict(input or {"question": "How long?"}))
    begun = Begun(id=of.id, at=0.0, release=of.release, call=call)
    return Record(begun=begun, outcome=Outcome(**{"id": of.id, "answer": of, "took_us": 1_500_000, **outcome}))


async def nothing(citation: Citation) -> None:
    return None


def says(*verdicts: Any, status: Status = Status.ANSWERED):
    """A judge that says these, one after the other, and keeps what it was asked."""
    asked: list[tuple[str, Mapping[str, Any]]] = []

    async def ask(feature: str, input: Mapping[str, Any]) -> Answer:
        asked.append((feature, input))
        return answer(data=verdicts[(len(asked) - 1) % len(verdicts)], feature=feature, status=status)

    ask.asked = asked  # type: ignore[attr-defined]
    return ask


async def opinion(scorer: Any, of: Answer | str, expected: Any = None, **fields: Any) -> Opinion | None:
    shown = record(answer(of) if isinstance(of, str) else of)
    return await scorer.score(Subject(**{"record": shown, "expected": expected, "look_up": nothing, "ask": says(None), **fields}))


async def passes(scorer: Any, of: Answer | str, expected: Any, **fields: Any) -> bool | None:
    found = await opinion(scorer, of, expected, **fields)
    assert found is not None
    return found.passed


# The seam

SCORERS: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "exact": (Exact(), ["Paris", 42, {"city": "Rome"}, True, ""], [None]),
    "contains": (
        Contains(),
        ["42", ["answer", "ann"], {"any": ["42", "43"], "case": True}],
        [True, [], "", " ", ["a", ""], {}, {"al": ["x"]}, {"all": "x"}, {"case": True}, 42],
    ),
    "regex": (Regex(), [r"\d+", ["(?i)ANN", "^The"], "é", "\u0000"], ["(", "a(?=b)", r"(a)\1", [], True, "", "\ud800"]),
    "number": (
        Number(),
        [42, -1.5, {"value": 42, "within": 0.5}, {"value": 42, "within": "5%"}, 10**30],
        [
            "42",
            True,
            {"value": 1, "within": "5 %5"},
            {"value": 1, "within": -1},
            {"with": 1},
            {"value": 1, "withing": 1},
            float("nan"),
        ],
    ),
    "schema": (Schema(), [True, CITY], [False, "city", {"type": "txt"}, {"$ref": "http://localhost/x"}, 3]),
    "schema, given": (Schema(schema=CITY), [True], []),
    "data": (Data(), [{"city": "Rome"}, {"stops": [2, 1]}, [1]], [True, {}, [], "Rome", 3]),
    "cites": (Cites(), ["guide.md", ["guide.md#one", "other.md"]], [True, "", [], 3]),
    "citations": (Citations(), [True], [False, "guide.md", {}]),
    "similarity": (
        Similarity(),
        ["The answer is 42.", {"text": "The answer", "at_least": 0.1}],
        ["", True, {"text": "a", "at_least": 2}, {"text": "a", "atleast": 0.5}, {"at_least": 0.5}],
    ),
    "latency": (Latency(), ["2s", "1ms"], ["2", 2, True, "2 minutes"]),
    "latency, at most": (Latency(at_most=Seconds(1)), ["2s"], []),
    "cost": (Cost(at_most=Usd(5)), ["0.01 USD"], ["0.01", 0.01, "1 EUR", True]),
    "refused": (Refused(), [True, False, "no_evidence"], ["no_evidences", 3, {}]),
    "judged": (Judged(rubric="helpful"), [True, "Paris is the capital."], [False, "", 3, {}]),
    "judged, compares": (Judged(rubric="helpful", compares=True), [True], [False, "Paris", 3]),
}


@pytest.mark.parametrize("name", SCORERS)
async def test_a_scorer_keeps_the_seams_promises(name: str):
    """No answer makes a scorer raise, change anything or contradict itself; a wrong expectation costs nothing."""
    scorer, expects, refuses = SCORERS[name]
    for ask in (says(None), says({"score": 0.4, "passed": False, "reason": "\ud800 dull"}), says({"better": "first"})):
        await check_scorer(scorer, expects=expects, refuses=refuses, ask=ask)
    await check_scorer(scorer, expects=expects)


def test_every_scorer_comes_in_by_the_guests_door():
    """A scorer that is shipped but not registered, or registered under a name of no class, cannot be named in a case."""
    points = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["mainstay.scorers"]
    files = {path.stem for path in Path(registry.__file__).parent.glob("parts/scorers/[a-z]*.py")} - {"reading"}
    assert set(points) == files == {name.partition(",")[0] for name in SCORERS}
    for target in points.values():
        assert callable(registry.imported(target).score)


def test_what_the_docs_show_is_what_scorers_take():
    """A case that is copied from the page must not be rejected, nor name a scorer that there is none of."""
    page = (PYPROJECT.parent / "docs" / "scorers.md").read_text(encoding="utf-8")
    cases = [msgspec.json.decode(line, type=Case) for line in page.splitlines() if line.startswith('{"input"')]
    assert len(cases) >= 5
    for case in cases:
        for name, expected in case.expect.items():
            SCORERS[name][0].check_expected(expected)


@pytest.mark.parametrize("text", ["plain", "\ud800", "x" * 5000])
@pytest.mark.parametrize("name", SCORERS)
async def test_a_reason_can_always_be_written(name: str, text: str):
    """A report is JSON: a reason that quotes what no JSON can carry would lose the whole of it."""
    scorer, expects, _ = SCORERS[name]
    for expected in expects:
        for of in (answer(text), answer(data={"city": [text], text: 1})):
            found = await opinion(scorer, of, expected)
            assert len(msgspec.json.encode(found)) < 2000


# Texts


async def test_exact_compares_texts_as_they_are_and_data_as_json():
    """`exact` neither forgives a capital nor fails on a space at the end, and tells 1 from true."""
    assert await passes(Exact(), " Paris\n", "Paris")
    assert await passes(Exact(), "Cafe\u0301", "Caf\u00e9")
    assert not await passes(Exact(), "paris", "Paris")
    assert not await passes(Exact(), "Paris.", "Paris")
    assert await passes(Exact(), answer(data={"a": 1.0, "b": [1, 2]}), {"b": [1, 2], "a": 1})
    assert not await passes(Exact(), answer(data={"a": True}), {"a": 1})
    assert not await passes(Exact(), answer(data={"a": 1, "b": 2}), {"a": 1})
    assert not await passes(Exact(), answer(data=[2, 1]), [1, 2])
    assert await passes(Exact(), ' {"a": 1} ', {"a": 1})
    assert not await passes(Exact(), answer(data={"a": 1}), '{"a": 1}')
    assert await passes(Exact(), answer(data="yes"), "yes")


async def test_contains_wants_all_of_a_list_and_any_of_any():
    """A list that was met by one of its texts would pass answers that leave out half of what they have to say."""
    assert await passes(Contains(), "You have 30\n days, FREE of charge.", ["30 days", "free"])
    some = await opinion(Contains(), "You have 30 days.", ["30 days", "free"])
    assert some == Opinion(value=0.5, passed=False, reason='"free" is missing')
    assert await passes(Contains(), "It is free.", {"any": ["no charge", "free"]})
    assert not await passes(Contains(), "It is free.", {"any": ["no charge"], "all": ["free"]})
    assert not await passes(Contains(), "It is Free.", {"all": ["free"], "case": True})
    assert await passes(Contains(), "DIE STRASSE", "Straße")
    assert await passes(Contains(), answer(data={"city": "Zürich"}), "zürich")


@pytest.mark.parametrize(
    ("name", "expected", "text", "passed"),
    [
        ("not-contains", ["60 days", "90 days"], "You have 60 days.", False),
        ("not-contains", ["60 days", "90 days"], "You have 30 days.", True),
        ("not-contains", {"any": ["60 days", "90 days"]}, "You have 90 days.", False),
        ("not-regex", ["(?i)sorry", "cannot"], "I cannot.", False),
        ("not-regex", ["(?i)sorry", "cannot"], "I can.", True),
        ("not-cites", ["a.md", "b.md"], "See b.", False),
        ("not-cites", ["c.md", "d.md"], "See b.", True),
        ("not-exact", "I can.", "I can.", False),
        ("not-number", 42, "It is 43.", True),
    ],
)
async def test_under_not_none_of_a_list_may_be_there(name, expected, text, passed):
    """ "Not all of them" would let an answer through that holds one of two forbidden promises."""
    named = {"contains": Contains(), "regex": Regex(), "cites": Cites(), "exact": Exact(), "number": Number()}
    scoring = Scoring(always=[], named=lambda n: ReadyScorer(n, named[n]), look_up=nothing, ask=says(None))
    cited = Citation(passage="b.md", source="s", document="b.md")
    case = Case(input={"question": "?"}, expect={name: expected})
    opinions = await scoring.opinions(record(answer(text, citations=(cited,))), case)
    assert opinions[name].passed is passed, opinions


async def test_regex_is_found_anywhere_and_runs_in_linear_time():
    """A pattern that would take for ever elsewhere is no risk here, and a text that no UTF-8 can hold is no error."""
    assert await passes(Regex(), "You have 30 days.", r"\b\d+ days\b")
    assert not await passes(Regex(), "You have 30 days.", r"^\d+ days$")
    assert not await passes(Regex(), "a" * 50_000, r"(a+)+$b")
    assert await passes(Regex(), "\ud800 30", "30")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,299.00 and 1.299,00", ["1299", "1299"]),
        ("1 299, 1\u00a0299\u00a0000 and 1'299.50", ["1299", "1299000", "1299.5"]),
        ("$5, -$5, $-5, −5 and €.5", ["5", "-5", "-5", "-5", "0.5"]),
        ("1,00,000 and 1.299.000", ["100000", "1299000"]),
        ("3-5 of 2024-05-06 at 12:30", ["3", "5", "2024", "5", "6", "12", "30"]),
        ("B2B, v3, 1.2.3 and 192.168.0.1 are none; 5kg is", ["5"]),
        ("1.5e3 and 2E-2", ["1500", "0.02"]),
        ("pages 1, 2 and 3. 4 more", ["1", "2", "3", "4"]),
        ("٣٤", ["34"]),
        ("9" * 200, []),
        ("½ ² ①", []),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, values: list[str]):
    """A right answer must not fail for how its number is written, nor a wrong one pass for digits that are no number."""
    assert [n.values[0] for n in numerals(text)] == [Decimal(v) for v in values]


def test_a_percentage_is_a_share_too():
    """`3%` answers a question for 0.03 as well as one for 3."""
    assert [set(n.values) for n in numerals("3% or 12,5 %", ",")] == [
        {Decimal(3), Decimal("0.03")},
        {Decimal("12.5"), Decimal("0.125")},
    ]


@given(st.text(alphabet="0123456789.,' \u00a0-$%eE+a", max_size=40))
def test_any_digits_can_be_read(text: str):
    """Whatever a model writes, reading its numbers neither raises nor takes long, in any language."""
    for mark in (".", ",", ""):
        for numeral in numerals(text, mark):
            assert numeral.values and all(v.is_finite() for v in (*numeral.values, *numeral.others))


def test_the_language_says_what_a_comma_means():
    """A German 1.299 is a thousand, a Swiss or Mexican writes otherwise, and of an unknown language nothing is known."""
    assert [decimal_mark(code) for code in ("de", "de-DE", "de-CH", "es", "es-MX", "en", "en-ZA", "EN_us", "", "xx")] == [
        ",", ",", "", ",", "", ".", "", ".", "", "",
    ]  # fmt: skip


async def test_a_number_is_found_within_its_tolerance():
    """A tolerance is a bound, not a hint, and is exact where floats are not."""
    assert await passes(Number(), "It is about 42.4.", {"value": 42, "within": 0.4})
    assert not await passes(Number(), "It is about 42.4.", {"value": 42, "within": 0.399})
    assert await passes(Number(), "103", {"value": -98, "within": "300%"})
    assert await passes(Number(), "0.3", {"value": 0.1, "within": 0.2})
    assert await passes(Number(), "95", {"value": 100, "within": "5%"}) and not await passes(
        Number(), "94.9", {"value": 100, "within": "5%"}
    )
    assert await passes(Number(), "1" + "0" * 40 + "1", 10**41 + 1) and not await passes(Number(), "1" + "0" * 41, 10**41 + 1)
    assert not await passes(Number(), "1." + "0" * 40 + "1", {"value": 0, "within": 1})
    assert await passes(Number(), answer(data={"total": [{"sum": 42.0}, True]}), 42)
    assert not await passes(Number(), answer(data={"42": True, "one": True}), 42)
    assert not await passes(Number(), answer(data=[True]), 1)
    assert await passes(Number(), answer(data={"total": "EUR 1.299,00"}), 1299)


@pytest.mark.parametrize(
    ("text", "expected", "language", "passed"),
    [
        ("1,299", 1299, "", True),
        ("1.299", 1.299, "", True),
        ("1.299", 1299, "", None),
        ("1,299", 1.299, "", None),
        ("1.299", 1299, "de", True),
        ("1.299", 1.299, "de", False),
        ("1,299", 1299, "de", False),
        ("1.299", 1299, "en", False),
        ("items 1 299", 299, "", None),
        ("1,5", 1.5, "fr", True),
    ],
)
async def test_a_number_with_two_readings_is_not_guessed_at(text, expected, language, passed):
    """A factor of a thousand is the costliest mistake there is: what fits only in the less plain reading is "could not tell"."""
    case = Case(input={}, language=language)
    assert await passes(Number(), text, expected, case=case) is passed


# Data


async def test_schema_holds_data_to_a_schema_and_repairs_nothing():
    """A scorer that repaired what it measures would say that a feature writes JSON when it does not."""
    assert await passes(Schema(), answer(data={"city": "Rome"}), CITY)
    wrong = await opinion(Schema(), answer(data={"city": 3}), CITY)
    assert wrong is not None and not wrong.passed and "$.city" in wrong.reason
    assert await passes(Schema(), '{"city": "Rome"}', True)
    assert not await passes(Schema(), '```json\n{"city": "Rome"}\n```', True)
    assert not await passes(Schema(schema=CITY), answer(data={}), None)
    assert await opinion(Schema(schema=CITY), answer("No.", status=Status.REFUSED)) is None


@pytest.mark.parametrize(
    ("expected", "data", "value", "said"),
    [
        ({"a": 1}, {"a": 1.0, "b": 2}, 1, ""),
        ({"a": 1, "b": {"c": [2]}}, {"a": 1, "b": {"c": [1, 2, 3]}}, 1, ""),
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 3}}, 1 / 3, "at $.b.c: it is 3, not 2; at $.b.d: it is missing"),
        ({"a": {"b": 1, "c": 2}, "d": 3}, {"a": None, "d": 3}, 1 / 3, "at $.a: it is null, not a table"),
        ([{"a": 1}, {"a": 1, "b": 2}], [{"a": 1, "b": 2}, {"a": 1}], 1, ""),
        ([1, 1], [1, 2], 0.5, "at $: no entry of its own for 1"),
        ({"a": [1]}, {"a": 1}, 0, "at $.a: it is 1, not a list"),
        ({"a": True}, {"a": 1}, 0, "at $.a: it is 1, not true"),
    ],
)
async def test_data_holds_at_least_these_values(expected, data, value, said):
    """The reason names each path that differs; an entry of a list is met once, and the best assignment of entries counts."""
    found = await opinion(Data(), answer(data=data), expected)
    assert found is not None and found.value == pytest.approx(value)
    assert found.reason == said and found.passed is (value == 1)


# Citations

GUIDE = """
    # Returns

    ## How long you have

    You can return most items within thirty (30) days of delivery. The limit for gift cards is $1,250.

    ## Refunds

    Refunds go to the card that was used. The warehouse in Rotterdam checks every parcel.
"""


async def read(folder: Path) -> Indexed:
    """The folder as a source, as it is now."""
    index = SqliteIndex(":memory:")
    await refresh(Knowledge(name="guide", reader=Folder(name="guide", path=str(folder)), index=index))
    return Indexed(name="guide", index=index)


@pytest.fixture
async def guide(tmp_path: Path) -> Indexed:
    lines = [line.strip() for line in GUIDE.strip().splitlines()]
    (tmp_path / "returns.md").write_text("\n".join(lines), encoding="utf-8")
    return await read(tmp_path)


async def cited(guide: Indexed, text: str, *places: str, quotes: str = "") -> Opinion:
    """The opinion of a text whose marks `[1]`, `[2]` cite these places, each for the sentence before it."""
    from mainstay.core.evidence import Evidence
    from mainstay.serve.citing import cite

    passages = tuple(
        [
            await guide.passage(place, viewer=Viewer()) or Passage(id=place, source="guide", document="x", text="-")
            for place in places
        ]
    )
    citations = tuple(msgspec.structs.replace(c, quote=quotes) for c in cite(text, Evidence(passages=passages)))

    async def look_up(citation: Citation) -> Passage | None:
        return await guide.passage(citation.passage, viewer=Viewer())

    found = await opinion(Citations(), answer(text, citations=citations), look_up=look_up)
    assert found is not None
    return found


async def test_a_source_shows_a_passage_again(guide: Indexed):
    """A citation can only be checked against what its source holds now."""
    for passage in await guide.search("How long do I have to return?", limit=3, viewer=Viewer()):
        shown = await guide.passage(passage.id, viewer=Viewer())
        assert shown == msgspec.structs.replace(passage, score=0.0)
    assert await guide.passage("returns.md#gone", viewer=Viewer()) is None


LONG, REFUNDS = "returns.md#how-long-you-have", "returns.md#refunds"


@pytest.mark.parametrize(
    ("text", "places", "fault"),
    [
        ("You have 30 days to return items [1].", [LONG], ""),
        ("Items are returned within thirty days [1].", [LONG], ""),
        ("You can return items within 60 days [1].", [LONG], "60"),
        ("You can return items within sixty days of delivery [1].", [LONG], "probability"),
        ("You can return items within two days of delivery [1].", [LONG], "two"),
        ("Gift cards have a limit of $1250.00 [1].", [LONG], ""),
        ("Gift cards have a limit of $1,350 [1].", [LONG], "1,350"),
        ("The warehouse in Rotterdam checks parcels [1].", [REFUNDS], ""),
        ("The warehouse in Antwerp checks every parcel [1].", [REFUNDS], "Antwerp"),
        ("Refunds go to your PayPal card that was used [1].", [REFUNDS], "PayPal"),
        ("Penguins enjoy swimming around icebergs [1].", [REFUNDS], "are not there"),
        ("You have 30 days, and refunds go to the card [1][2].", [LONG, REFUNDS], ""),
        ("You have 30 days [1]. Refunds go to the card that was used [2].", [LONG, REFUNDS], ""),
        ("You have 30 days [2]. Refunds go to the card that was used [1].", [LONG, REFUNDS], "30"),
        ("You have 30 days [1].", ["returns.md#gone"], "not there any more"),
    ],
)
async def test_a_sentence_is_held_to_what_it_cites(guide: Indexed, text: str, places: list[str], fault: str):
    """A wrong figure with a right-looking mark behind it is the commonest lie of a grounded feature."""
    found = await cited(guide, text, *places)
    assert found.passed is (not fault), found
    assert fault in found.reason


async def test_a_quotation_has_to_stand_there_word_for_word(guide: Indexed):
    """White space and capitals may differ; a changed word is an invented quotation."""
    text = "You have 30 days [1]."
    assert (await cited(guide, text, LONG, quotes="you can  return most items\nwithin thirty (30) days")).passed
    wrong = await cited(guide, text, LONG, quotes="You can return all items within thirty (30) days")
    assert not wrong.passed and "does not stand in" in wrong.reason and wrong.value == 0.5


async def test_a_source_that_changed_since_fails_its_old_citations(guide: Indexed, tmp_path: Path):
    """A citation is checked against the source as it is now, not as it was when the answer was given."""
    text = "You have 30 days to return items [1]."
    assert (await cited(guide, text, LONG)).passed
    path = tmp_path / "returns.md"
    path.write_text(path.read_text().replace("thirty (30)", "fourteen (14)"))
    assert not (await cited(await read(tmp_path), text, LONG)).passed


async def test_an_answer_without_citations_fails_and_a_refusal_is_left_alone():
    """A model that stops citing must not pass for one that cites well; a refusal has nothing to cite."""
    assert await passes(Citations(), "You have 30 days.", None) is False
    refusal = answer("I can't answer that.", status=Status.REFUSED, reason=Reason.NO_EVIDENCE)
    assert await opinion(Citations(), refusal) is None
    assert await passes(Citations(), refusal, True) is False


async def test_the_passages_of_a_case_are_what_its_answer_cites():
    """A case that brings its evidence is checked against that, wherever the sources have gone since."""
    pinned = Passage(id="p1", source="s", document="d.md", text="The deposit is 80 euros.")
    of = answer("The deposit is 80 euros [1].", citations=(Citation.of(pinned, start=0, end=24),))
    assert await passes(Citations(), of, True, case=Case(input={}, passages=(pinned,)))
    assert not await passes(Citations(), of, True, case=Case(input={}))


async def test_languages_that_capitalise_nouns_and_that_have_no_spaces_are_not_failed_for_it():
    """A German noun is no name, and Chinese is compared by pairs of characters, not by whole sentences."""
    german = Passage(
        id="p", source="s", document="d", text="Die Kaution beträgt 80 Euro und wird bei Rückgabe des Schlüssels erstattet."
    )
    chinese = Passage(id="p", source="s", document="d", text="您可以在收到商品后30天内退货。")
    for passage, sentence, fine in (
        (german, "Nach Rückgabe des Schlüssels wird dem Kunden die Kaution erstattet", True),
        (german, "Nach Rückgabe des Schlüssels wird die Kaution von 90 Euro erstattet", False),
        (chinese, "商品可在30天内退货", True),
        (chinese, "企鹅喜欢在冰山周围游泳", False),
    ):
        of = answer(f"{sentence} [1].", citations=(Citation.of(passage, start=0, end=len(sentence)),))
        assert await passes(Citations(), of, True, case=Case(input={}, passages=(passage,))) is fine, sentence


async def test_cites_names_documents_and_sections():
    """A section is cited by any of its pieces, and a document by any of its sections; a longer name is another one."""
    of = answer(citations=(Citation(passage="help/returns.md#how-long~2", source="s", document="help/returns.md"),))
    for place in ("help/returns.md", "help/returns.md#how-long", "help/returns.md#how-long~2"):
        assert await passes(Cites(), of, place)
    for place in ("returns.md", "help/returns.md#how", "help/returns.md#how-long~1"):
        assert not await passes(Cites(), of, place)
    assert await passes(Cites(), of, ["fees.md", "help/returns.md"])
    none = await opinion(Cites(), of, ["fees.md", "terms.md"])
    assert none is not None and none.value == 0.0 and "fees.md" in none.reason and "terms.md" in none.reason


# Similarity, time, money, refusals


def test_similarity_is_lexical_and_between_nought_and_one():
    """Its figures mean what the docs say: the same text is 1, unrelated English about 0.2, nothing in common 0."""
    one, other = "You can return most items within thirty days.", "Penguins enjoy swimming around very large icebergs."
    assert similarity(one, one.upper().replace(" ", "\n")) == 1.0
    assert 0.05 < similarity(one, other) < 0.3
    assert similarity("abc", "xyz") == 0.0 and similarity("", "") == 1.0 and similarity("", "a") == 0.0
    assert similarity(one, "You can return most articles within thirty days.") > 0.7
    assert similarity(one, other) == similarity(other, one)


async def test_similarity_passes_from_its_threshold():
    """The case's threshold goes before the option's."""
    text, near = "within thirty days", "within thirty (30) days"
    assert await passes(Similarity(at_least=0.7), near, text)
    assert not await passes(Similarity(at_least=0.7), near, {"text": text, "at_least": 0.99})


async def test_time_and_money_have_limits_and_unknown_costs_are_no_bargain():
    """A model without a price is not free: whether it keeps to a limit cannot be told."""
    at = record(answer("x"), took_us=2_000_000, cost_nano_usd=Usd.parse("0.02 USD"))
    assert await passes(Latency(), "", "2s", record=at) and not await passes(Latency(), "", "1.9s", record=at)
    assert await passes(Latency(at_most=Seconds(1)), "", None, record=at) is False
    assert await opinion(Latency(), "x") is None and await opinion(Cost(), "x") is None
    assert await passes(Cost(), "", "0.02 USD", record=at)
    over = await opinion(Cost(), "", "0.01 USD", record=at)
    assert over == Opinion(value=0.5, passed=False, reason="it cost 0.02 USD; at most 0.01 USD")
    unknown = record(answer("x"), cost_nano_usd=None)
    assert await passes(Cost(), "", "1 USD", record=unknown) is None


async def test_a_refusal_is_a_status_with_its_reason():
    """A refusal for the wrong reason, or an apology in the words of an answer, is not the refusal that was expected."""
    no = answer("I can't.", status=Status.REFUSED, reason=Reason.NO_EVIDENCE)
    yes = answer("I can't answer that.")
    assert await passes(Refused(), no, True) and await passes(Refused(), no, "no_evidence")
    assert not await passes(Refused(), no, "unsafe_input") and not await passes(Refused(), no, False)
    assert not await passes(Refused(), yes, True) and await passes(Refused(), yes, False)


# Judges


async def test_a_judge_is_asked_what_was_asked_and_answered():
    """The judge sees the call's input, the answer as it was shown, and the reference that the case gives."""
    ask = says({"score": 0.75, "passed": True, "reason": "clear"})
    found = await opinion(Judged(rubric="helpful"), "30 days.", "Thirty days.", ask=ask)
    assert found == accepts("clear", value=0.75)
    assert ask.asked == [("helpful", {"question": "How long?", "answer": "30 days.", "reference": "Thirty days."})]
    ask = says({"score": 0.2, "passed": False})
    several = record(answer(data={"a": 1}), input={"text": "Hi", "count": 2})
    assert await passes(Judged(rubric="helpful"), "", True, record=several, ask=ask) is False
    assert ask.asked[0][1] == {"question": "text: Hi\ncount: 2", "answer": '{"a": 1}'}


@pytest.mark.parametrize(
    "verdict",
    [None, {}, "good", {"score": 4, "passed": True}, {"score": 0.5}, {"passed": True}, {"score": "0.5", "passed": True},
     {"score": 0.5, "passed": "yes"}, {"score": -0.1, "passed": False}, {"score": float("nan"), "passed": True},
     {"score": True, "passed": True}],
)  # fmt: skip
async def test_what_is_not_a_verdict_is_not_a_zero(verdict):
    """A judge that writes nonsense says nothing of the answer: neither a pass nor a failure."""
    found = await opinion(Judged(rubric="helpful"), "30 days.", ask=says(verdict))
    assert found is not None and (found.value, found.passed) == (None, None) and "gave no verdict" in found.reason


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.ANSWERED, Status.CACHED}))
async def test_a_judge_that_fell_back_gives_no_verdict(status):
    """A judge's fixed last message fits its schema too; taken for a verdict, an outage would look like bad answers."""
    ask = says({"score": 0.0, "passed": False}, status=status)
    assert await passes(Judged(rubric="helpful"), "30 days.", True, ask=ask) is None


@pytest.mark.parametrize(
    ("ahead", "behind", "value", "said"),
    [
        ("first", "second", 1.0, "because"),
        ("second", "first", 0.0, "because"),
        ("tie", "tie", 0.5, "a tie"),
        ("first", "first", 0.5, "changes with the order"),
        ("second", "second", 0.5, "changes with the order"),
        ("first", "tie", 0.5, "changes with the order"),
    ],
)
async def test_a_verdict_that_flips_with_the_order_is_a_tie(ahead, behind, value, said):
    """A judge that prefers whatever comes first must not decide a release."""
    ask = says({"better": ahead, "reason": "because"}, {"better": behind, "reason": "because"})
    rival = record(answer("60 days."))
    found = await opinion(Judged(rubric="better", compares=True), "30 days.", True, ask=ask, rival=rival)
    assert found is not None and found.value == value and found.passed is (value > 0) and said in found.reason
    assert [(a["first"], a["second"]) for _, a in ask.asked] == [("30 days.", "60 days."), ("60 days.", "30 days.")]


async def test_a_comparison_needs_a_rival_and_equal_answers_need_no_judge():
    """Nothing is spent on comparing an answer with itself, and without a baseline there is nothing to say."""
    judge, ask = Judged(rubric="better", compares=True), says({"better": "first"})
    assert await opinion(judge, "30 days.", True, ask=ask) is None
    same = await opinion(judge, "30 days.", True, ask=ask, rival=record(answer("30 days.")))
    assert same is not None and same.value == 0.5 and not ask.asked
    one_garbled = says({"better": "first"}, {"better": "the first"})
    assert await passes(judge, "30 days.", True, ask=one_garbled, rival=record(answer("60"))) is None
    refusal = answer("I can't.", status=Status.REFUSED)
    assert await opinion(judge, refusal, ask=ask, rival=record(answer("60"))) is None and not ask.asked
