"""The `classifier` rung: it answers where it is sure and passes where not, and whatever can be wrong with it is said at load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest
from click.testing import CliRunner

import mainstay
from mainstay.core.classifier import FORMAT
from mainstay.doors.cli.main import main
from mainstay.serve.classifying import read
from mainstay.testing import ODD_TEXTS

FEATURE = """
    summary = "Sorts messages"

    [input]
    message = "text"
    note = "text?"

    [answer]
    schema = "answer.schema.json"

    [[ladder]]
    classifier = "classifier.json"
    {keys}

    [[ladder]]
    message = {{ category = "other", entities = [] }}
"""
ANSWER = 'answer = \'{"category": "{{ labels.category }}", "entities": []}\''
LABELS = ["billing", "delivery"]
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["category", "entities"],
    "properties": {"category": {"enum": [*LABELS, "other"]}, "entities": {"type": "array"}},
}
CARD = {
    "fitted": "2026-11-21",
    "cases": 0,
    "cases_hash": "",
    "labels": {},
    "folds": 5,
    "accuracy": 1,
    "low": 0,
    "high": 1,
    "by_target": {},
    "calibration_error": 0,
    "curve": [],
}
FILE: dict[str, Any] = {  # one word for each label, with weights made by hand
    "format": FORMAT,
    "card": CARD,
    "field": None,
    "targets": [{"name": "category", "labels": LABELS, "bias": [0, 0], "temperature": 1}],
    "least_known": 0,
    "step": 1,
    "words": {"invoice": [0, 9, 1, -9], "parcel": [0, -9, 1, 9], "maybe": [0, 1]},
    "letters": {},
    "fitted_on": [],
}
PLAIN = """
    summary = "Sorts messages"
    [[ladder]]
    classifier = "classifier.json"
    {keys}
    [[ladder]]
    message = "I cannot tell."
"""


def with_targets(*targets: dict[str, Any]) -> dict[str, Any]:
    """The file with these targets in place of its own."""
    return {**FILE, "targets": [{"bias": [0] * len(t["labels"]), "temperature": 1, **t} for t in targets], "words": {}}


@pytest.fixture
def sorting(opened):
    """`sorting(keys, file)` opens a project with a feature whose first rung is a classifier with these keys."""

    def make(keys: str = ANSWER, file: Any = FILE, feature: str = FEATURE) -> mainstay.Mainstay:
        content = file if isinstance(file, str) else json.dumps(file)
        files = {"features/answers/classifier.json": content, "features/answers/answer.schema.json": json.dumps(SCHEMA)}
        app: mainstay.Mainstay = opened(feature=feature.format(keys=keys), files=files)
        return app

    return make


async def test_it_answers_where_it_is_sure_and_says_how_sure(sorting):
    """The labels fill the template, the answer carries the probability, and the record says what was chosen."""
    app = sorting()
    answer = await app.run("answers", message="Where is my invoice?")
    assert (answer.status, answer.rung, answer.data) == ("answered", "classifier", {"category": "billing", "entities": []})
    assert answer.confidence is not None and answer.confidence > 0.99
    record = await app.record(answer.id)
    assert [(a.rung, a.outcome, a.detail) for a in record.outcome.attempts] == [
        ("classifier", "ok", "category billing: 100% sure")
    ]


async def test_it_passes_where_it_is_not_sure(sorting):
    """Below `sure` the next rung answers, and that is no failure: nothing is degraded but for the message itself."""
    for text in ("maybe", "no word that is known", "invoice or parcel"):
        answer = await sorting().run("answers", message=text)
        assert (answer.rung, answer.data) == ("message", {"category": "other", "entities": []}), text


async def test_sure_is_the_threshold(sorting):
    """The same text is answered or passed as the file asks: 73 % is above 0.7 and below 0.8."""
    for sure, rung in ((0.55, "classifier"), (0.9, "message")):
        answer = await sorting(f"sure = {sure}\n    {ANSWER}").run("answers", message="maybe")
        assert answer.rung == rung


async def test_all_texts_together_are_read_or_the_one_field(sorting):
    """What another field says counts, unless `field` names one."""
    answer = await sorting().run("answers", message="hello there", note="parcel parcel")
    assert answer.data["category"] == "delivery"
    one = {**FILE, "field": "message"}
    answer = await sorting(f'field = "message"\n    {ANSWER}', one).run("answers", message="hello there", note="parcel parcel")
    assert answer.rung == "message"


async def test_a_template_may_hold_the_input(sorting):
    """As rules do, the rung writes what the caller said, escaped."""
    keys = 'answer = \'{"category": "{{ labels.category }}", "entities": [{{ message | tojson }}]}\''
    answer = await sorting(keys).run("answers", message='my "invoice"')
    assert answer.data["entities"] == ['my "invoice"']


async def test_without_a_template_the_labels_are_the_answer(sorting, opened):
    """As data where the answer has a schema that takes them, as text where it is text."""
    app = sorting("", feature=PLAIN)
    assert (await app.run("answers", question="my invoice")).text == "billing"
    schema = {"type": "object", "required": ["category"], "properties": {"category": {"enum": LABELS}}}
    files = {"features/answers/classifier.json": json.dumps(FILE), "features/answers/answer.schema.json": json.dumps(schema)}
    feature = FEATURE.format(keys="").replace('category = "other", entities = []', 'category = "billing"')
    app = opened(feature=feature, files=files)
    assert (await app.run("answers", message="my parcel")).data == {"category": "delivery"}


async def test_odd_texts_are_passed_and_long_ones_are_quick(sorting):
    """Whatever stands in a text, the call ends in an answer, and a book takes no longer than its first pages."""
    app = sorting()
    for text in ODD_TEXTS:
        if text.strip():
            answer = await app.run("answers", message=text)
            assert answer.rung in ("message", None), text[:40]
    _, classifier = read(json.dumps(FILE).encode(), where="", next="")
    began = time.monotonic()
    classifier.guess("ﷺ invoice " * 1_000_000)
    assert time.monotonic() - began < 1


def test_an_answer_is_the_same_in_every_process():
    """Neither the order of a set nor the seed of its hashes moves a score by a bit."""
    program = """if True:
        import sys
        from mainstay.serve.classifying import read
        _, classifier = read(sys.stdin.buffer.read(), where="", next="")
        print(classifier.scores(" ".join(f"word{i}" for i in range(200))))
    """
    words = {f"word{i}": [0, i * 37 % 101 - 50, 1, i * 53 % 89 - 44] for i in range(200)}
    file = json.dumps({**FILE, "step": 0.0137, "words": words}).encode()
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=file,
            capture_output=True,
            check=True,
            timeout=60,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1


def test_the_file_is_part_of_the_release(sorting):
    """Another classifier is another release: it is evaluated before it is served."""
    one = sorting().features.ready["answers"].digest
    two = sorting(file={**FILE, "step": 2}).features.ready["answers"].digest
    assert one != two


BAD_FILES: list[tuple[Any, str]] = [
    ("", "features/answers/classifier.json: not JSON: "),
    ("[" * 5000, "features/answers/classifier.json: not JSON: "),
    ("[]", "features/answers/classifier.json: not a classifier that can be used: Expected `object`, got `array`"),
    ({**FILE, "format": 99}, "features/answers/classifier.json: a classifier of format 99; this version reads format 1"),
    ({**FILE, "mood": 1}, "not a classifier that can be used: Object contains unknown field `mood`"),
    ({**FILE, "words": {"a": [0]}}, "the weights of 'a' do not fit the labels"),
    ({**FILE, "words": {"a": [2, 1]}}, "the weights of 'a' do not fit the labels"),
    ({**FILE, "words": {"a": [0, 10**9]}}, "not a classifier that can be used: Expected `int` <= 10000"),
    (with_targets({"name": "a", "labels": ["x", "y"], "bias": [0]}), "the target a has 2 labels and 1 biases"),
    (with_targets({"name": "a", "labels": ["x", "x"]}), "the target a has the same label twice"),
    (with_targets(*[{"name": "a", "labels": ["x", "y"]}] * 2), "two targets have the same name"),
    (
        with_targets({"name": "category", "labels": ["billing", "weather"]}),
        'feature.toml:12 ladder[0].answer: the labels {"category":"weather"} make an answer that the schema does not allow: '
        "at $.category: ",
    ),
    (
        with_targets({"name": "topic", "labels": ["billing", "other"]}),
        "features/answers/feature.toml:12 ladder[0].answer: the template cannot be filled",
    ),
    (
        {**FILE, "field": "note"},
        "feature.toml:11 ladder[0].classifier: classifier.json was fitted on the field `note`; the rung has to look at the same",
    ),
]


@pytest.mark.parametrize(("file", "says"), BAD_FILES)
def test_a_bad_file_is_an_error_at_load(sorting, file: Any, says: str):
    """Where, what, and for a file that cannot be used the command that writes a new one."""
    with pytest.raises(mainstay.ConfigError) as caught:
        sorting(file=file)
    assert says in str(caught.value)
    if "classifier.json: " in says:
        assert caught.value.next == "mainstay learn classify answers"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("", 'the labels {"category":"billing"} make an answer that the schema does not allow'),
        ('answer = \'{"category": "{{ label }}"}\'', 'nothing gives the variable `label`; did you mean "labels"?'),
        ('answer = \'{"category": "{{ labels.categry }}"}\'', 'did you mean "category"?'),
        (
            'answer = \'{"category": "{{ labels.category }}", "entities": ["{{ message }}"]}\'',
            "what the rung says has to be JSON, whatever stands in the input",
        ),
        (f'field = "mesage"\n    {ANSWER}', 'there is no text field "mesage" in the input; did you mean "message"?'),
        (f"sure = 80\n    {ANSWER}", "ladder[0].sure: expected a number of at most 1"),
    ],
)
def test_a_slip_in_the_rung_is_an_error_at_load(sorting, keys: str, says: str):
    """Templates are tried with every label, so that none fails in front of a user."""
    with pytest.raises(mainstay.ConfigError) as caught:
        sorting(keys)
    assert says in str(caught.value)


def test_every_label_is_tried_however_many_there_are(sorting):
    """Where there are too many combinations to try, each label is in one of those that are."""
    many = [f"label {i}" for i in range(40)]
    file = with_targets({"name": "a", "labels": many}, {"name": "b", "labels": many}, {"name": "c", "labels": [*many, "bad"]})
    odd = '{% if labels.c == "bad" %}{{ labels.nothing }}{% endif %}'
    keys = "answer = '" + odd + '{"category": "billing", "entities": []}' + "'"
    with pytest.raises(mainstay.ConfigError, match="the template cannot be filled"):
        sorting(keys, file)


def test_a_text_answer_of_several_targets_needs_a_template(sorting):
    """Which of the labels would be the answer?"""
    file = with_targets({"name": "a", "labels": ["x", "y"]}, {"name": "b", "labels": ["x", "y"]})
    with pytest.raises(mainstay.ConfigError, match="has several labels, so the rung needs an `answer`") as caught:
        sorting("", file, PLAIN)
    assert caught.value.next == 'answer = "{{ labels.a }}"'


def test_the_drill_passes_with_such_a_rung(project):
    """Under every fault of the model above it the classifier's answer is on time, typed, checked and recorded."""
    feature = """
        summary = "Sorts the invoice"
        deadline = "800ms"
        [[ladder]]
        model = "small"
        prompt = "prompt.md"
        tries = 1
        [[ladder]]
        classifier = "classifier.json"
        [[ladder]]
        message = "Sorry."
    """
    models = '[models.small]\nprovider = "openai"\nmodel = "small"\nkey = "env:NOBODY_HAS_THIS_KEY"\n'
    root = project(models, feature, {"features/answers/classifier.json": json.dumps(FILE)})
    result = CliRunner().invoke(main, ["drill", "answers", "where is my invoice", "-C", str(root), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["passed"]
    assert "classifier" in {call["rung"] for call in report["calls"]}


def test_the_doctor_knows_the_rung(project):
    """The ladder is shown with it."""
    root = project(feature=PLAIN.format(keys=""), files={"features/answers/classifier.json": json.dumps(FILE)})
    result = CliRunner().invoke(main, ["doctor", "-C", str(root)])
    assert "classifier > message" in result.output
