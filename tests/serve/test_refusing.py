"""Refusals: in the user's language, with the next step, with the sources that may be read, and in the place of the message."""

from __future__ import annotations

import pytest
from found_pages import settings

from mainstay import policy
from mainstay.core.answer import Text
from mainstay.core.draft import ALLOW, Verdict, note, refuse
from mainstay.core.reasons import Reason
from mainstay.core.seams import Hold
from mainstay.serve import languages
from mainstay.serve.refusing import chosen, sentence, sentences

LADDER = """
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    tries = 1
    [[ladder]]
    message = "Sorry."
"""
FEATURE = (
    """
    summary = "Answers"
    deadline = "5s"
    [grounding]
    sources = ["guide"]
"""
    + LADDER
)
GUARDED = FEATURE + '[guards]\noutput = ["grounded"]\n'
WRONG = "The moon is made of green cheese and orbits Jupiter."
RIGHT = "The order arrives on Monday."


class Stops:
    """Stops everything that a model wrote, for a reason that the feature file says."""

    hold = Hold.WHOLE

    def __init__(self, *, reason: str = "slot_mismatch", on: str = "output") -> None:
        self._verdict, self._on = refuse(Reason(reason), "because", next={"en": "Ask Ann.", "de": "Fragen Sie Ann."}), on

    async def check(self, draft) -> Verdict:
        return ALLOW if draft.stage != self._on or draft.author == "message" else self._verdict


class Raises:
    """Raises the stakes of every call, at one stage."""

    hold = Hold.NOTHING

    def __init__(self, *, at: str = "input") -> None:
        self._at = at

    async def check(self, draft) -> Verdict:
        return note("this is serious", stakes="high") if draft.stage == self._at and draft.author == "model" else ALLOW


class Says:
    """Notes its own name, so that a test sees in which order guards are asked."""

    hold = Hold.WHOLE

    async def check(self, draft) -> Verdict:
        return note("asked") if draft.stage == "output" else ALLOW


# What is said


def test_every_reason_is_told_in_every_language_and_none_of_them_in_english():
    """Nobody who writes Korean is refused in English, and no translation is a copy."""
    english = sentences()["en"]
    assert len(sentences()) >= 22
    for language, said in sentences().items():
        for reason in Reason:
            text = sentence(reason, language)
            assert text.strip() == text and text[-1] in ".。।", (language, reason)
            assert language == "en" or text not in english.values(), (language, reason)
        assert said.keys() == english.keys(), language
        assert len(set(said.values())) == len(said), f"two reasons say the same in {language}"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my parcel and when will it arrive?", "en"),
        ("Wann kommt mein Paket?", "de"),
        ("Où est mon colis et quand arrive-t-il ?", "fr"),
        ("¿Cuándo llega mi paquete?", "es"),
        ("Quando arriva il mio pacco?", "it"),
        ("Quando chega a minha encomenda? Não sei onde está.", "pt"),
        ("Waar is mijn pakket en wanneer komt het?", "nl"),
        ("Kiedy przyjdzie moja paczka?", "pl"),
        ("När kommer mitt paket och var är det?", "sv"),
        ("Hvornår kommer min pakke?", "da"),
        ("Når kommer pakken min, og hva koster den?", "no"),
        ("Milloin pakettini saapuu ja missä se on?", "fi"),
        ("Kdy přijde můj balík?", "cs"),
        ("Paketim ne zaman gelecek?", "tr"),
        ("Когда придёт моя посылка?", "ru"),
        ("Коли прийде моя посилка?", "uk"),
        ("متى تصل شحنتي؟", "ar"),
        ("מתי תגיע החבילה שלי?", "he"),
        ("मेरा पैकेज कब आएगा?", "hi"),
        ("我的包裹什么时候到？", "zh"),
        ("荷物はいつ届きますか？", "ja"),
        ("제 택배는 언제 오나요?", "ko"),
        ("بسته من کی می‌رسد و چقدر پول می‌خواهد؟", None),
        ("ref 48213377", None),
        ("", None),
    ],
)
def test_the_language_of_an_input_is_guessed(text, language):
    """A short question is enough; where nothing speaks for a language, none is guessed."""
    assert languages.guessed(text) == language


def test_a_next_step_is_chosen_by_language():
    """The user's language, else the feature's, else English, else whatever there is."""
    texts = {"de-CH": "Rufen Sie an.", "en": "Call us.", "fr": "Appelez-nous."}
    assert chosen(texts, "de") == "Rufen Sie an."
    assert chosen(texts, "ko", "fr") == "Appelez-nous."
    assert chosen(texts, "ko") == "Call us."
    assert chosen({"nl": "Bel ons."}, "ko") == "Bel ons."
    assert chosen("Call us.", "de") == "Call us."
    assert chosen({}, "de") == ""


@pytest.mark.parametrize(
    ("locale", "question", "language", "steps"),
    [
        ("de-AT", "?", "de", "Fragen Sie Ann. Rufen Sie an."),
        ("nb_NO", "?", "no", "Ask Ann. Appelez-nous."),
        (None, "Wann kommt mein Paket?", "de", "Fragen Sie Ann. Rufen Sie an."),
        (None, "1234", "fr", "Ask Ann. Appelez-nous."),
        ("th-TH", "Wann kommt mein Paket?", "fr", "Ask Ann. Appelez-nous."),
    ],
)
async def test_a_refusal_speaks_the_users_language(opened, locale, question, language, steps):
    """The locale decides, else the input, else the feature; the guard's next step and the feature's come in it where they can."""
    refusal = '[refusal]\nlanguage = "fr"\nnext = { de = "Rufen Sie an.", fr = "Appelez-nous." }\n'
    guards = '[guards]\ninput = [{ "test_refusing:Stops" = { on = "input", reason = "unsafe_input" } }]\n'
    answer = await opened(settings(RIGHT), FEATURE + guards + refusal).run("answers", question=question, locale=locale)
    assert (answer.status, answer.reason, answer.citations) == ("refused", "unsafe_input", ())
    assert answer.text == f"{sentence(Reason.UNSAFE_INPUT, language)} {steps}"


# In the place of the message


async def test_an_answer_that_was_withheld_is_a_refusal_with_its_sources(opened):
    """A made-up answer is neither shown nor papered over with a message: the reason is said, and what was found can be read."""
    app = opened(settings(WRONG), GUARDED)
    answer = await app.run("answers", question="When does it arrive?")
    assert (answer.status, answer.reason, answer.rung) == ("refused", "ungrounded", None)
    assert answer.text == sentence(Reason.UNGROUNDED)
    assert [(c.source, c.document, c.link, c.quote) for c in answer.citations] == [("guide", "guide.md", "/guide#0", "")]


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("slot_mismatch", "refused"),
        ("low_confidence", "refused"),
        ("high_risk_unvalidated", "refused"),
        ("unsafe_output", "degraded"),
        ("model_refused", "degraded"),
    ],
)
async def test_other_reasons_still_end_in_the_message(opened, reason, status):
    """Only where an answer was there and is withheld does the refusal take the message's place."""
    app = opened(settings(RIGHT), FEATURE + f'[guards]\noutput = [{{ "test_refusing:Stops" = {{ reason = "{reason}" }} }}]\n')
    answer = await app.run("answers", question="When does it arrive?")
    assert (answer.status, answer.reason) == (status, reason)
    assert bool(answer.citations) is (status == "refused")
    assert (answer.text == "Sorry.") is (status == "degraded")


async def test_rungs_between_are_tried_before_a_refusal(opened):
    """A search below the model still answers by quoting; only the fixed message gives way to the refusal."""
    ladder = FEATURE.replace("    [[ladder]]\n    message", '    [[ladder]]\n    search = "guide"\n    [[ladder]]\n    message')
    app = opened(settings(WRONG), ladder + '[guards]\noutput = ["grounded"]\n')
    answer = await app.run("answers", question="When does the order arrive?")
    assert (answer.status, answer.rung, answer.reason) == ("degraded", "search", "ungrounded")
    assert RIGHT in answer.text


async def test_a_withheld_answer_shows_nothing_in_a_stream(opened):
    """The stream of such a refusal holds no text event, so no client shows half of a wrong answer."""
    app = opened(settings(WRONG), GUARDED)
    events = [event async for event in app.stream("answers", question="When does it arrive?")]
    assert not [event for event in events if isinstance(event, Text)]
    assert events[-1].reason == "ungrounded"


# Three layers in one order


async def test_the_layers_come_behind_all_others_in_one_order(opened):
    """Whatever the file's order: the other guards, then grounded, risks and curated."""
    output = '["risks", "grounded", "test_refusing:Says", { terms = ["AcmeCo"] }]'
    app = opened(settings(RIGHT, approver="Ann"), HIGH + f"[guards]\noutput = {output}\n")
    ready = app.features.ready["answers"]
    assert [guard.name for guard in ready.output_guards] == ["test_refusing:Says", "terms", "grounded", "risks"]
    assert ready.curated is not None and ready.curated.name == "curated"


HIGH = FEATURE.replace('summary = "Answers"', 'summary = "Answers"\n    stakes = "high"')


async def test_high_stakes_bring_their_guards_with_them(opened):
    """`stakes = "high"` needs no line under [guards]: what curated content bears passes, all else is refused with its reason."""
    app = opened(settings(RIGHT, WRONG, approver="Ann"), HIGH)
    assert [guard.name for guard in app.features.ready["answers"].output_guards] == ["grounded"]
    answer = await app.run("answers", question="When does it arrive?")
    assert (answer.status, answer.text) == ("answered", RIGHT)
    answer = await app.run("answers", question="When does it arrive?")
    assert (answer.status, answer.reason) == ("refused", "ungrounded")


async def test_at_normal_stakes_grounded_asks_for_what_its_table_says(opened):
    """The default that the guard documents is the one in force: the policy puts no other in its place."""
    app = opened(settings(RIGHT), FEATURE + '[guards]\noutput = ["grounded"]\n')
    [named] = policy.output_guards(app.features.ready["answers"].feature)
    assert named.spec == "grounded"


@pytest.mark.parametrize(
    ("curated", "detail"),
    [
        ({}, "passages that do not count, approved by nobody: p0"),
        ({"approver": " "}, "passages that do not count, approved by nobody: p0"),
        ({"approver": "Ann", "review": "2001-01-01"}, "passages that do not count, overdue: p0 (review was due 2001-01-01)"),
    ],
)
async def test_what_nobody_answers_for_does_not_pass_where_the_stakes_are_high(opened, curated, detail):
    """Without an approver, or with an overdue review, content does not count; the record says which and why."""
    app = opened(settings(RIGHT, **curated), HIGH)
    answer = await app.run("answers", question="When does it arrive?")
    assert (answer.status, answer.reason) == ("refused", "high_risk_unvalidated")
    assert [citation.passage for citation in answer.citations] == ["p0"]
    record = await app.record(answer.id)
    assert [(g.guard, g.action, g.reason, g.detail) for g in record.outcome.guards] == [
        ("curated", "refuse", "high_risk_unvalidated", detail)
    ]


async def test_a_failing_model_still_ends_in_the_message_where_the_stakes_are_high(opened):
    """The team's own message passes every layer: a feature with high stakes keeps its promise of an answer."""
    broken = settings(RIGHT, approver="Ann").replace(
        "[models.small.options]", '[models.small.options]\n    fault = "unreachable"'
    )
    answer = await opened(broken, HIGH).run("answers", question="When does it arrive?")
    assert (answer.status, answer.reason, answer.text) == ("degraded", "model_unavailable", "Sorry.")


@pytest.mark.parametrize("stage", ["input", "output"])
async def test_a_guard_may_raise_the_stakes_of_a_call(opened, stage):
    """A category of risk asks for curated content where the feature does not, also when it is only seen in the answer."""
    guards = f'[guards]\n{stage} = [{{ "test_refusing:Raises" = {{ at = "{stage}" }} }}]\n'
    answer = await opened(settings(RIGHT), FEATURE + guards).run("answers", question="When does it arrive?")
    assert (answer.status, answer.reason) == ("refused", "high_risk_unvalidated")


async def test_curated_content_answers_a_call_whose_stakes_were_raised(opened):
    """Raised stakes refuse nothing that curated content bears, and nothing leaves before the whole was compared."""
    guards = '[guards]\noutput = [{ "test_refusing:Raises" = { at = "output" } }]\n'
    app = opened(settings(f"{RIGHT} {RIGHT}", approver="Ann"), FEATURE + guards)
    events = [event async for event in app.stream("answers", question="When does it arrive?")]
    assert [event.text for event in events if isinstance(event, Text)] == [f"{RIGHT} {RIGHT}"]
    record = await app.record(events[-1].id)
    assert [(g.guard, g.action, g.detail) for g in record.outcome.guards] == [
        ("test_refusing:Raises", "allow", "this is serious")
    ]


async def test_nothing_leaves_once_the_stakes_are_raised(opened):
    """From the moment a risk is seen the rest is held: an answer that fails in its second sentence shows none of the first."""
    slow = settings(f"{RIGHT} {WRONG} {WRONG}", approver="Ann").replace(
        "[models.small.options]", "[models.small.options]\n    chunk = 5"
    )
    app = opened(slow, FEATURE + '[guards]\noutput = [{ "test_refusing:Raises" = { at = "output" } }]\n')
    events = [event async for event in app.stream("answers", question="When does it arrive?")]
    assert (events[-1].status, events[-1].reason) == ("refused", "high_risk_unvalidated")
    assert not [event for event in events if isinstance(event, Text)]


@pytest.mark.parametrize(
    ("feature", "what"),
    [
        (HIGH + "[guards]\noutput = [{ grounded = { at_least = 0.1 } }]\n", 'with stakes = "high", `grounded` asks for at least'),
        (
            'summary = "Answers"\nstakes = "high"\n' + LADDER.replace("    ", ""),
            "[grounding] names no sources",
        ),
        (FEATURE + '[guards]\noutput = ["curated"]\n', "it is in force by itself"),
    ],
)
def test_high_stakes_that_could_not_be_kept_are_an_error_at_load(opened, feature, what):
    """A threshold below that of the stakes, or nothing to match, is found before the first call."""
    with pytest.raises(Exception, match=what.replace("[", r"\[").replace('"', '"')):
        opened(settings(RIGHT), feature)
