"""The aligner tells what evidence bears from what it does not, fast, in any script, and as well as its card says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from bench.quality import alignment as bench
from bench.quality.table import auroc, folds

from mainstay.core.evidence import Evidence, Passage, Slot
from mainstay.parts.alignment import Alignment, shared, shipped
from mainstay.parts.matching import Ground, stem, words_of
from mainstay.testing import ODD_TEXTS

PAGES = {
    "en": "You can return shoes within 30 days if they are unworn. The refund is paid to your card by Anna Lee on 3 March 2024.",
    "de": "Schuhe können innerhalb von 30 Tagen zurückgegeben werden. Der Versand nach Österreich kostet 4,90 Euro.",
    "fr": "Les chaussures peuvent être retournées sous 30 jours. La livraison en Autriche coûte 4,90 euros.",
    "es": "Los zapatos se pueden devolver en 30 días. El envío a Austria cuesta 4,90 euros.",
    "ru": "Обувь можно вернуть в течение 30 дней. Доставка в Австрию стоит 4,90 евро.",
    "zh": "鞋子可以在30天内退货。运费为4.90欧元。商店周日不营业。",
}


def evidence_of(*texts: str, heading: tuple[str, ...] = ()) -> Evidence:
    return Evidence(
        passages=tuple(
            [Passage(id=str(i), source="s", document="page.md", heading=heading, text=t) for i, t in enumerate(texts)]
        ),
        searched=True,
    )


def score(sentence: str, *texts: str, heading: tuple[str, ...] = ()) -> float:
    return shared().support([sentence], evidence_of(*texts, heading=heading))[0].score


@pytest.mark.parametrize(
    ("borne", "not_borne"),
    [
        ("You can return shoes within 30 days.", "You can return shoes within 60 days."),
        ("You can return unworn shoes within thirty days if they are unworn.", "You can return shoes within forty days."),
        ("The refund is paid by Anna Lee.", "The refund is paid by Anna Kim."),
        ("The refund is paid to your card.", "The refund is paid to your aunt in Lisbon."),
        ("The refund is paid on 3 March 2024.", "The refund is paid on 3 April 2024."),
        ("You can return shoes if they are unworn.", "Elephants are grey."),
    ],
)
def test_a_changed_number_name_or_subject_is_seen(borne: str, not_borne: str):
    """What differs from the page in one thing is well below what does not."""
    high, low = score(borne, PAGES["en"]), score(not_borne, PAGES["en"])
    assert high > 0.5 > low and high - low > 0.25


def test_a_denial_is_less_borne_than_what_it_denies():
    """A "not" that one of the two lacks counts, wherever it is."""
    page = "Gift cards cannot be returned. Shoes can be returned."
    assert score("Gift cards cannot be returned.", page) > score("Gift cards can be returned.", page)
    assert score("Shoes can be returned.", page) > score("Shoes can not be returned.", page)


def test_an_opposite_is_worse_than_any_other_word():
    """`increased` beside `decreased` is no mere gap."""
    claim, rest = "The price of the house increased in May.", "in May. It rained."
    assert score(claim, f"The price of the house decreased {rest}") < score(claim, f"The price of the house wobbled {rest}")


def test_in_a_script_without_spaces_a_part_of_a_sentence_is_found():
    """Where no spaces are, a stretch of the page is not one long word."""
    assert score("周日不营业。", PAGES["zh"]) > 0.5 > score("汽车必须停放在街上。", PAGES["zh"])


@pytest.mark.parametrize("language", PAGES)
def test_in_any_script_a_pages_own_sentence_is_borne_and_a_strangers_is_not(language: str):
    """Numbers, names and words count in every language, also where no spaces stand between them."""
    page = PAGES[language]
    own = page.partition("。" if language == "zh" else ". ")[0] + ("。" if language == "zh" else ".")
    changed = own.replace("30", "90")
    other = PAGES["zh" if language != "zh" else "de"].replace("30", "17")
    assert score(own, page) > 0.6 > 0.5 > score(changed, page)
    assert score(other, page) < 0.3


def test_the_passage_and_the_sentence_that_bear_most_are_named():
    """Whoever cites needs the passage, and the place in it to quote."""
    texts = [PAGES["de"], "It rains. The shop opens at nine. Bye.", PAGES["en"]]
    found = shared().support(["The shop opens at nine."], evidence_of(*texts))[0]
    assert found.passage == 1 and found.at is not None
    assert texts[1][found.at :].startswith("The shop opens")


def test_a_sentence_may_rest_on_two_passages_and_on_a_heading():
    """A fact from each of two pages is as good as two from one; what the heading says need not be said again below it."""
    both = "Shoes can be returned within 30 days and gift cards are valid for three years."
    assert score(both, "Shoes can be returned within 30 days.", "Gift cards are valid for three years.") > 0.5
    plain, headed = (score("Returns to Austria are free.", "They are free.", heading=h) for h in ((), ("Returns to Austria",)))
    assert headed > plain


def test_a_fact_bears_a_sentence_and_is_no_passage():
    """Slots are evidence that nothing can be cited from."""
    found = shared().support(
        ["The price is 1299 EUR."], Evidence(slots=(Slot(name="price", type="money", value="1299.00", unit="EUR"),))
    )
    assert found[0].score > 0.5 and found[0].passage is None


def test_evidence_with_a_text_more_is_as_if_read_at_once():
    """What is read once and added to later says the same of every sentence as what is read anew, and stays what it was."""
    texts = [("", text) for text in (*PAGES.values(), "It is not the unworn shoe of Anna.")]
    added = whole = Ground(texts[:3])
    for _, text in texts[3:]:
        added = added.also(text)
    assert vars(added) == vars(Ground(texts)) and vars(whole) == vars(Ground(texts[:3]))


def test_without_evidence_nothing_is_borne():
    """No evidence is no support, for any sentence."""
    assert [s.score for s in shared().support(["It is.", ""], Evidence(searched=True))] == [0.0, 0.0]


def test_odd_texts_do_no_harm():
    """Whatever a model or a page holds, the result is a probability, and the same each time."""
    evidence = evidence_of(*[text or "-" for text in ODD_TEXTS], PAGES["en"])
    found = shared().support(ODD_TEXTS, evidence)
    assert all(0 <= support.score <= 1 for support in found)
    assert found == Alignment().support(ODD_TEXTS, evidence)


@pytest.mark.parametrize(
    ("one", "other"),
    [("returns", "returned"), ("Straße", "STRASSE"), ("café", "cafe"), ("seven", "7"), ("sieben", "7"), ("companies", "company")],
)
def test_words_are_compared_without_case_accents_and_endings(one: str, other: str):
    """Another form of a word is no other word."""
    assert words_of(one)[0].key == words_of(other)[0].key


def test_a_number_is_the_same_however_it_is_written():
    """`1,299.00` is `1299`, and neither is `1298`."""
    ground = Ground([("", "It costs 1,299.00 euros.")])
    assert words_of("1299")[0].key in ground.places and words_of("1298")[0].key not in ground.places
    assert stem("two") == "#2"


def test_an_answer_is_judged_in_milliseconds():
    """Fast enough for every answer; the bound is generous, because this machine may be busy."""
    text = (PAGES["en"] + " ") * 12
    evidence = evidence_of(*[f"{text[:1490]} {i}" for i in range(5)])
    sentences = [f"You can return shoes within {n} days if they are unworn, and the refund is paid by Anna." for n in range(5)]
    best = 1.0
    for _ in range(5):
        aligner = Alignment()
        began = time.process_time()
        aligner.support(sentences, evidence)
        best = min(best, time.process_time() - began)
    assert best < 0.05


def test_the_weights_bring_their_card():
    """Whoever relies on it can read what it was fitted on, under which licence, and how good it is."""
    card = shipped().card
    assert card.data and card.licence and card.date and card.figures and card.limits


@pytest.mark.slow
def test_on_public_claims_it_beats_words_alone(data: Path):
    """Fitted on one half of the pages and asked of the other, and the other way round, it is above chance by far."""
    found = bench.load(data)
    told = []
    for training, test in folds(bench.groups(found), str, 2):
        aligner = Alignment(bench.fit(found.only(set(training).__contains__)))
        claims = [claim for claim in found.only(set(test).__contains__).claims if claim.of == "wice"]
        told += [(bench.score(aligner, claim), claim.borne) for claim in claims]
    assert auroc([score for score, _ in told], [borne for _, borne in told]) > 0.72
