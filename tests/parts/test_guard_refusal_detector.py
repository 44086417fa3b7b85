"""The guard `refusal_detector`: a model that declines is asked again or passed over, and nobody else is stopped for it."""

from __future__ import annotations

import pytest
from bench.quality import refusal_detector

from mainstay.core.call import Call
from mainstay.core.draft import ALLOW, Draft
from mainstay.parts.guards.refusal_detector import OPENING, PHRASES, RefusalDetector
from mainstay.testing import check_guard

DECLINED = "I'm sorry, but I can't help with that. It would not be appropriate."
ANSWERED = "Returns are free for 30 days. Print the label from your account, and bring the parcel to any post office."
DECLINING = (
    ("en", DECLINED),
    ("en", "I cannot fulfill your request. I am just an AI."),
    ("de", "Es tut mir leid, dabei kann ich Ihnen nicht helfen."),
    ("fr", "Désolé, mais je ne peux pas vous aider."),
    ("es", "Lo siento, no puedo ayudarte con eso."),
    ("it", "Mi dispiace, non posso rispondere a questa domanda."),
    ("pt", "Desculpe, não posso ajudar com isso."),
    ("nl", "Sorry, ik kan u daar niet mee helpen."),
    ("pl", "Przepraszam, nie mogę w tym pomóc."),
    ("tr", "Üzgünüm, bu konuda size yardımcı olamam."),
    ("ru", "Извините, я не могу помочь с этим."),
    ("uk", "Вибачте, я не можу допомогти."),
    ("zh", "抱歉，我无法回答这个问题。"),
    ("ja", "申し訳ありませんが、お答えできません。"),
    ("ko", "죄송하지만 도와드릴 수 없습니다."),
    ("ar", "عذرا، لا أستطيع مساعدتك في ذلك."),
    ("hi", "माफ़ कीजिए, मैं इसमें मदद करने में असमर्थ हूँ।"),
)
LADDER = """
    summary = "Answers"
    delivery = "{delivery}"
    deadline = "2s"
    {input}
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    tries = 1
    [[ladder]]
    message = "I'm sorry, I can't answer that right now."
    [guards]
    output = ["refusal_detector"]
"""
SAYS = """
    [models.small]
    provider = "scripted"
    model = "small"
    options = { replies = ["%s"] }
"""


async def said(text: str, **draft: object) -> object:
    return await RefusalDetector().check(Draft(**{"call": Call(id="t", feature="f"), "text": text, **draft}))  # type: ignore[arg-type]


async def test_it_keeps_the_seams_promises():
    """What it says of a growing opening is what it says of the whole, wherever the text is cut, and nothing slips out before."""
    texts = [
        DECLINED,
        ANSWERED,
        f"{ANSWERED} {DECLINED}",
        DECLINED.removesuffix("."),
        "Hello! I am happy that you ask.\nUnfortunately, I cannot provide instructions for that. Goodbye.",
        "x" * (OPENING - 5) + " I cannot help with that request, I am sorry.",
    ]
    for guard in (RefusalDetector(), RefusalDetector(action="refuse"), RefusalDetector(at_least=0.01)):
        await check_guard(guard, texts)


@pytest.mark.parametrize(("language", "text"), DECLINING)
async def test_a_refusal_is_seen_in_every_language_that_it_knows(language, text):
    """Each language of the phrase list has a sentence that shows that its patterns fit folded text."""
    assert language in PHRASES
    assert (await said(text)).reason == "model_refused"


def test_every_language_of_the_list_is_tried_above():
    """A language cannot be added without a sentence that it finds."""
    assert {language for language, _ in DECLINING} == set(PHRASES)


@pytest.mark.parametrize(
    "text",
    [
        ANSWERED,
        "I'm sorry to hear that. You can return the item within 30 days.",
        "Unfortunately, your warranty does not cover water damage.",
        "Sie können die Ware leider nicht zurückgeben, wenn sie geöffnet wurde.",
        "No, la entrega no es gratuita.",
        "",
        "42",
    ],
)
async def test_an_answer_that_is_none_passes(text):
    """Bad news is no refusal; and what passes costs no object."""
    assert await said(text) is ALLOW


async def test_what_no_model_wrote_is_not_looked_at():
    """A message that says that it cannot answer is what the team wants said there; data and inputs are none of its business."""
    assert await said(DECLINED, author="team") is ALLOW
    assert await said(DECLINED, data={"a": 1}) is ALLOW
    assert await said(DECLINED, stage="input") is ALLOW


@pytest.mark.parametrize("delivery", ["stream", "checked"])
async def test_a_refusal_is_never_shown_and_the_next_rung_answers(opened, delivery):
    """Over a real stream, in both deliveries: not a word of the refusal leaves, and the record says why the ladder went on."""
    feature = LADDER.format(delivery=delivery, input="")
    app = opened(SAYS % DECLINED, feature)
    shown = [event async for event in app.stream("answers", question="?")]
    answer = shown[-1]
    assert (answer.status, answer.reason) == ("degraded", "model_refused")
    assert answer.text == "I'm sorry, I can't answer that right now."
    assert "".join(event.text for event in shown[:-1] if type(event).__name__ == "Text") == answer.text


@pytest.mark.parametrize("delivery", ["stream", "checked"])
async def test_an_answer_comes_through_whole(opened, delivery):
    """The guard changes nothing of an answer."""
    app = opened(SAYS % ANSWERED, LADDER.format(delivery=delivery, input=""))
    assert (await app.run("answers", question="?")).text == ANSWERED


def test_it_beats_string_matching_on_prompts_that_it_has_not_seen(data):
    """The card's figure: F1 above 0.869 where the completions of one focus word are never torn apart."""
    found = {row.metric: row.ours for row in refusal_detector.rows(data, data)}
    assert found["refusal detector, F1 of any refusal (beside string match)"] > 0.9
    assert found["ordinary answers taken for refusals"] < 0.02
