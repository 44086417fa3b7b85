"""Confidence: measured from evidence and from what an answer took, shown, recorded, and held to a floor."""

from __future__ import annotations

import json

import pytest
from found_pages import settings

from mainstay.core.confidence import UNCALIBRATED, USUAL, Calibration
from mainstay.core.errors import ConfigError

RIGHT = "The order arrives on Monday."
WRONG = "The moon is made of green cheese and orbits Jupiter."
FEATURE = """
    summary = "Answers"
    deadline = "5s"
    [grounding]
    sources = ["guide"]
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    tries = 2
    [[ladder]]
    message = "Sorry."
"""
GROUNDED = FEATURE + '[guards]\noutput = ["grounded"]\n'


def test_missing_signals_count_as_usual_ones():
    """What nobody measured neither helps nor harms, and more evidence never lowers the confidence."""
    assert UNCALIBRATED.confidence({}) == UNCALIBRATED.confidence(USUAL) == 0.5
    assert UNCALIBRATED.confidence({"support": 0.9}) > UNCALIBRATED.confidence({"support": 0.3})
    assert UNCALIBRATED.confidence({"repairs": 1.0}) < 0.5
    assert 0 <= Calibration(bias=-100, weights={}).confidence({}) < Calibration(bias=100, weights={}).confidence({}) <= 1


async def test_an_answer_says_how_sure_it_is_and_its_record_why(opened):
    """The confidence is in the answer, and the signals that it was made of are on the record."""
    app = opened(settings(RIGHT, pages=(RIGHT, "Returns are free.")), GROUNDED)
    answer = await app.run("answers", question="When does the order arrive?")
    signals = (await app.record(answer.id)).outcome.signals
    assert signals.keys() == {"retrieval", "margin", "passages", "support", "agreement", "repairs"}
    assert (signals["retrieval"], signals["passages"], signals["repairs"]) == (0.9, 0.4, 0.0)
    assert signals["support"] > 0.5 and signals["agreement"] > 0.9
    assert answer.confidence == UNCALIBRATED.confidence(signals) > 0.5


async def test_an_answer_that_had_to_be_asked_for_again_is_less_sure(opened):
    """A guard's remark is a sign that the model did not know."""
    first = await opened(settings(RIGHT), GROUNDED).run("answers", question="When does the order arrive?")
    app = opened(settings(WRONG, RIGHT), GROUNDED)
    again = await app.run("answers", question="When does the order arrive?")
    assert again.text == first.text
    assert again.confidence < first.confidence
    assert (await app.record(again.id)).outcome.signals["repairs"] == 0.3333


async def test_what_nothing_measures_has_no_confidence(opened):
    """A model without evidence, and the message, say nothing of how sure they are."""
    plain = FEATURE.replace('[grounding]\n    sources = ["guide"]', "")
    assert (await opened(settings(RIGHT), plain).run("answers", question="?")).confidence is None
    message = await opened(settings(""), GROUNDED).run("answers", question="?")
    assert (message.rung, message.confidence) == ("message", None)


async def test_below_the_floor_the_ladder_goes_on(opened):
    """A draft that is not sure enough is never shown: the next rung is tried, and in the end it is a refusal that says so."""
    ladder = FEATURE.replace("    [[ladder]]\n    message", '    [[ladder]]\n    search = "guide"\n    [[ladder]]\n    message')
    floor = "[confidence]\nfloor = 0.99\n"
    app = opened(settings(WRONG), ladder + floor)
    events = [event async for event in app.stream("answers", question="When does the order arrive?")]
    answer = events[-1]
    assert (answer.status, answer.reason) == ("refused", "low_confidence")
    assert [citation.passage for citation in answer.citations] == ["p0"]
    assert not any(getattr(event, "text", "") for event in events[1:-1])
    guards = (await app.record(answer.id)).outcome.guards
    assert [(g.guard, g.rung, g.reason) for g in guards] == [
        ("confidence", "small", "low_confidence"),
        ("confidence", "search", "low_confidence"),
    ]


async def test_above_the_floor_an_answer_is_shown(opened):
    """A floor that is reached changes nothing but when the words leave."""
    app = opened(settings(RIGHT), GROUNDED + "[confidence]\nfloor = 0.3\n")
    answer = await app.run("answers", question="When does the order arrive?")
    assert (answer.status, answer.text) == ("answered", RIGHT)


async def test_a_calibration_beside_the_file_is_used_and_part_of_the_release(opened, project):
    """The weights that were fitted make the confidence, and a change of them is another release."""
    feature = GROUNDED + '[confidence]\nfile = "confidence.json"\n'
    weights = {"format": 1, "bias": 2.0, "weights": {}}
    app = opened(settings(RIGHT), feature, {"features/answers/confidence.json": json.dumps(weights)})
    digest = app.features.ready["answers"].digest
    assert (await app.run("answers", question="?")).confidence == 0.8808
    app = opened(settings(RIGHT), feature, {"features/answers/confidence.json": json.dumps({**weights, "bias": 0.0})})
    assert app.features.ready["answers"].digest != digest


@pytest.mark.parametrize(
    ("file", "what"),
    [
        (None, "is missing"),
        ("{", "not JSON"),
        ('{"format": 1, "bias": 0, "weights": {"luck": 1}}', "unknown signal, luck"),
        ('{"format": 9, "bias": 0, "weights": {}}', "format 9"),
    ],
)
def test_a_calibration_that_is_none_is_an_error_at_load(opened, file, what):
    """The error names the file and the command that writes it."""
    files = {} if file is None else {"features/answers/confidence.json": file}
    with pytest.raises(ConfigError, match=what) as error:
        opened(settings(RIGHT), GROUNDED + '[confidence]\nfile = "confidence.json"\n', files)
    assert error.value.next == "mainstay learn confidence answers"


def test_a_floor_that_nothing_could_be_below_is_an_error_at_load(opened):
    """A promise that nothing measures is not accepted."""
    with pytest.raises(ConfigError, match="nothing measures"):
        opened(settings(RIGHT), FEATURE.replace('[grounding]\n    sources = ["guide"]', "") + "[confidence]\nfloor = 0.5\n")
