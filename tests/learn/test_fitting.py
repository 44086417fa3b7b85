"""A classifier learns what there is to learn, knows how sure it is, and is never judged on what it was fitted on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import mainstay
from mainstay.core.case import Case
from mainstay.core.classifier import ClassifierFile
from mainstay.doors.cli.classify import classify
from mainstay.learn.fitting import Example, TooFew, calibration_error, fit, written
from mainstay.learn.labelling import fitted_on
from mainstay.serve.classifying import Classifier, read
from mainstay.spec.cases import read_cases
from mainstay.testing import ODD_TEXTS

COMMON = "please could you look at this for me today thanks it is about my order and i need some help with that again".split()
TELLING = {
    "billing": "invoice charged refund card payment price bank".split(),
    "delivery": "parcel courier late address driver van doorstep".split(),
    "account": "password login email profile locked username settings".split(),
}
PLAIN = "please look at this for me today my invoice charged card"


def made_up(n: int, seed: int, *, odd_ones: float = 0.0) -> list[Example]:
    """Messages of common words with one telling word; the share `odd_ones` of them has a label drawn by lot."""
    chance = random.Random(seed)
    found = []
    for i in range(n):
        label = sorted(TELLING)[i % len(TELLING)]
        words = [*chance.choices(COMMON, k=9), chance.choice(TELLING[label])]
        chance.shuffle(words)
        given = chance.choice(sorted(TELLING)) if chance.random() < odd_ones else label
        found.append(Example(text=" ".join(words), labels={"category": given}))
    return found


def fitted(examples: list[Example], **options: Any) -> ClassifierFile:
    file = fit(examples, date="2026-11-21", **options)
    assert isinstance(file, ClassifierFile), file
    return file


def share_right(classifier: Classifier, examples: list[Example]) -> tuple[float, float]:
    """How many of the examples are labelled right, and the calibration error."""
    guesses = [(classifier.guess_from(classifier.scores(e.text)[0]), e) for e in examples]
    told = [(guess.sure, guess.labels == e.labels) for guess, e in guesses]
    return sum(right for _, right in told) / len(told), calibration_error(told)


def test_a_plain_task_is_learnt_and_the_card_says_so():
    """Where one word tells the label, texts that were never seen are labelled right, and the card promised as much."""
    file = fitted(made_up(150, 1))
    right, _ = share_right(Classifier(file), made_up(300, 2))
    assert right > 0.95
    assert file.card.low - 0.03 <= right
    assert file.card.cases == 150 and sum(file.card.labels["category"].values()) == 150


def test_probabilities_come_true():
    """Where a third of the labels are drawn by lot, nobody can be right more often than seven times in nine; the classifier
    knows that it is not: its probabilities are as high as the share that comes true."""
    file = fitted(made_up(600, 3, odd_ones=0.33))
    right, error = share_right(Classifier(file), made_up(1000, 4, odd_ones=0.33))
    assert 0.65 < right < 0.85
    assert error < 0.08
    assert file.card.low - 0.04 <= right <= file.card.high + 0.04


def test_the_curve_says_what_sure_amounts_to():
    """The higher `sure`, the fewer are answered and the more of those are right, on texts that were never seen too."""
    file = fitted(made_up(600, 5, odd_ones=0.2))
    answered = [point.answered for point in file.card.curve]
    assert answered == sorted(answered, reverse=True)
    point = next(point for point in file.card.curve if point.sure == 0.7)
    guesses = [(Classifier(file).guess(e.text), e) for e in made_up(400, 6, odd_ones=0.2)]
    said = [guess.labels == e.labels for guess, e in guesses if guess is not None and guess.sure >= 0.7]
    assert point.right is not None
    assert abs(len(said) / len(guesses) - point.answered) < 0.15
    assert abs(sum(said) / len(said) - point.right) < 0.1


def test_the_same_examples_make_the_same_bytes_in_whatever_order_they_come():
    """A classifier in git changes when its cases do, and else not."""
    examples = made_up(60, 7)
    turned = examples[::-1]
    assert written(fitted(examples)) == written(fitted(turned))
    assert written(fitted(examples)) != written(fitted(examples[:-3]))


def test_the_file_is_small_and_read_again_as_it_was():
    """Many labels and long texts make no large file, and what is read is what was written."""
    chance = random.Random(8)
    words = ["".join(chance.choices("abcdefghij", k=6)) for _ in range(900)]
    examples = [
        Example(text=" ".join(chance.choices(words[i % 20 * 45 : i % 20 * 45 + 60], k=20)), labels={"intent": f"intent {i % 20}"})
        for i in range(200)
    ]
    file = fitted(examples)
    data = written(file)
    assert len(data) < 300_000
    assert read(data, where="", next="")[0] == file
    assert data.count(b"\n") > len(file.words)  # a piece a line, for those who read the difference


def test_languages_without_spaces_are_learnt_too():
    """Runs of letters stand in for words where there are none."""
    chance = random.Random(9)
    telling = {"billing": ["发票", "退款", "付款"], "delivery": ["包裹", "快递", "送货"]}
    filler = "我想请你们帮助看一下这个问题因为今天很急谢谢"

    def messages(n: int) -> list[Example]:
        found = []
        for i in range(n):
            label = sorted(telling)[i % 2]
            cut = chance.randrange(len(filler))
            text = filler[chance.randrange(5) : cut] + chance.choice(telling[label]) + filler[cut : cut + 8]
            found.append(Example(text=text, labels={"category": label}))
        return found

    right, _ = share_right(Classifier(fitted(messages(80))), messages(100))
    assert right > 0.85


def test_two_targets_have_labels_of_their_own_and_one_probability():
    """`sure` is for all targets together: it is never above what one of them has."""
    chance = random.Random(10)
    examples = [
        Example(
            text=f"{e.text} {'immediately urgent' if (urgent := chance.random() < 0.5) else 'whenever'}",
            labels={**e.labels, "urgent": urgent},
        )
        for e in made_up(120, 10)
    ]
    file = fitted(examples)
    assert [target.name for target in file.targets] == ["category", "urgent"]
    guess = Classifier(file).guess(f"{PLAIN} immediately urgent")
    assert guess is not None and guess.labels == {"category": "billing", "urgent": True}
    assert file.card.accuracy <= min(file.card.by_target.values())


def test_a_text_of_another_kind_is_not_judged():
    """Nothing known, or little that is, is no ground for a guess, whatever the commonest label is; odd texts raise nothing."""
    classifier = Classifier(fitted(made_up(150, 11)))
    for text in (*ODD_TEXTS, "zzz", "Ծառերը կանաչ են գարնանը", "x" * 1_000_000, "\ud800" * 50):
        assert classifier.guess(text) is None, text[:40]


def test_the_same_text_counts_once_and_its_commonest_label_wins():
    """A text that was copied ten times is not ten texts of evidence, and cannot be its own judge in another part."""
    twice = made_up(60, 12)
    wrong = Example(text=twice[0].text.upper(), labels={"category": "account"})
    file = fitted([*twice, *twice, wrong])
    assert file.card.cases == 60
    assert written(file) == written(fitted(twice))


@pytest.mark.parametrize(
    ("examples", "says"),
    [
        ([], "no case says which label its answer has"),
        ([e for e in made_up(60, 1) if e.labels["category"] == "billing"], "every case has the same category"),
        (made_up(13, 1), 'category "delivery" has 4 cases to fit on; add 1 or more'),
    ],
)
def test_too_few_cases_are_a_value_that_says_what_to_add(examples: list[Example], says: str):
    """A classifier of three cases would be a guess with a file extension."""
    found = fit(examples, date="")
    assert isinstance(found, TooFew)
    assert any(says in sentence for sentence in found.missing), found.missing


# From the cases of a feature

TRIAGE = """
    summary = "Sorts messages"

    [input]
    message = "text"

    [answer]
    schema = "answer.schema.json"

    {rung}
    [[ladder]]
    message = {{ category = "account", entities = [] }}
"""
RUNG = """
    [[ladder]]
    classifier = "classifier.json"
    sure = 0.5
    answer = '{{"category": "{{{{ labels.category }}}}", "entities": []}}'
"""
SCHEMA = json.dumps(
    {
        "type": "object",
        "required": ["category", "entities"],
        "properties": {"category": {"enum": sorted(TELLING)}, "entities": {"type": "array"}},
    }
)


def lines(examples: list[Example], **more: Any) -> str:
    """Examples as lines of a file of cases."""
    return "".join(
        json.dumps({"input": {"message": e.text}, "expect": {"data": {**e.labels, "entities": []}}, **more}) + "\n"
        for e in examples
    )


def project_of(project: Any, files: dict[str, str], rung: str = "") -> Path:
    """A project whose feature `answers` has these files of cases."""
    cases = {f"features/answers/cases/{name}": text for name, text in files.items()}
    root: Path = project(
        feature=TRIAGE.format(rung=rung.format()), files={"features/answers/answer.schema.json": SCHEMA, **cases}
    )
    return root


def run(root: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(classify, ["answers", "-C", str(root), *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def with_rung(root: Path) -> None:
    """Add the lines that the command printed to the feature's file."""
    printed = run(root).output.partition("[[ladder]]")[2]
    file = root / "features/answers/feature.toml"
    text = file.read_text()
    file.write_text(text.replace("[[ladder]]", f"[[ladder]]{printed}\n[[ladder]]", 1))


async def test_what_the_command_writes_and_prints_is_a_rung_that_answers(project):
    """From cases to an answer by classifier: the command, the lines that it prints, a call."""
    root = project_of(project, {"train.jsonl": lines(made_up(90, 1)), "golden.jsonl": lines(made_up(12, 2))})
    with_rung(root)
    async with mainstay.open(root, environ={}, dev=True) as app:
        answer = await app.run("answers", message=PLAIN)
    assert (answer.rung, answer.status, answer.data) == ("classifier", "answered", {"category": "billing", "entities": []})
    assert answer.confidence is not None and answer.confidence >= 0.8


def test_training_files_are_fitted_on_and_never_evaluated(project):
    """What stands in train*.jsonl is no case of an evaluation, and what an evaluation asks was not fitted on, copies included."""
    golden, training = made_up(30, 1), made_up(90, 2)
    root = project_of(
        project, {"train-1.jsonl": lines(training), "train-2.jsonl": lines(golden[:5]), "golden.jsonl": lines(golden)}
    )
    result = run(root, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["card"]["cases"] == 90
    cases = read_cases(root / "features/answers", shown="")
    assert sorted(case.input["message"] for case in cases) == sorted(example.text for example in golden)
    _, classifier = read((root / "features/answers/classifier.json").read_bytes(), where="", next="")
    assert not any(classifier.seen(example.text) for example in golden)
    assert all(classifier.seen(f"  {example.text.upper()}\n") for example in training)


def test_without_training_files_half_of_the_cases_are_known_again(project):
    """The half that was fitted on is told apart in every evaluation to come, except what no release may fail."""
    examples, must = made_up(120, 1), made_up(12, 2)
    root = project_of(project, {"golden.jsonl": lines(examples), "must.jsonl": lines(must, must=True)})
    with_rung(root)
    cases = read_cases(root / "features/answers", shown="")
    with mainstay.open(root, environ={}, dev=True) as app:
        ready = app.features.ready["answers"]
        left_out = [case for case in cases if fitted_on(ready, case)]
    assert 40 < len(left_out) < 80
    assert not any(case.must for case in left_out)
    _, classifier = read((root / "features/answers/classifier.json").read_bytes(), where="", next="")
    assert not any(classifier.seen(example.text) for example in must)


def test_a_case_is_known_again_under_another_name(project):
    """Neither another id, nor a locale, nor other capitals make a case new that the classifier was fitted on."""
    examples = made_up(90, 1)
    root = project_of(project, {"train.jsonl": lines(examples), "golden.jsonl": lines(made_up(12, 2))})
    with_rung(root)
    with mainstay.open(root, environ={}, dev=True) as app:
        ready = app.features.ready["answers"]
        again = Case(input={"message": f" {examples[0].text.title()} "}, id="new", locale="de")
        assert fitted_on(ready, again)
        assert not fitted_on(ready, Case(input={"message": "something else"}))
        assert not fitted_on(ready, Case(input={"message": examples[0].text}, must=True)), "such a case is never left out"


def test_too_few_cases_exit_with_three_and_write_nothing(project):
    """Inconclusive is an exit code of its own, and leaves the folder as it was."""
    root = project_of(project, {"train.jsonl": lines(made_up(13, 1))})
    result = run(root)
    assert result.exit_code == 3
    assert 'category "delivery" has 4 cases to fit on; add 1 or more' in result.output
    assert not (root / "features/answers/classifier.json").exists()


def test_a_feature_whose_classifier_is_missing_says_what_to_type_and_that_works(project):
    """The file is often not there yet, or gone; the command that the error names must not fail for the same reason."""
    root = project_of(project, {"train.jsonl": lines(made_up(90, 1))}, rung=RUNG)
    with pytest.raises(mainstay.ConfigError, match=r"classifier\.json.* is missing") as caught:
        mainstay.open(root, environ={}, dev=True)
    assert caught.value.next == "mainstay learn classify answers"
    assert run(root).exit_code == 0
    mainstay.open(root, environ={}, dev=True).close_sync()


def test_labels_of_a_text_answer_come_from_what_is_exact(project):
    """Where the answer is text, the label is the whole text, and the rung says it without a template."""
    cases = "".join(
        json.dumps({"input": {"question": e.text}, "expect": {"exact": str(e.labels["category"])}}) + "\n" for e in made_up(60, 1)
    )
    root = project(feature='summary = "A"\n[[ladder]]\nmessage = "?"\n', files={"features/answers/cases/train.jsonl": cases})
    with_rung(root)
    with mainstay.open(root, environ={}, dev=True) as app:
        answer = app.run_sync("answers", question=PLAIN)
    assert (answer.rung, answer.text) == ("classifier", "billing")
