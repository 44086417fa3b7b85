"""The statistics of a judge's calibration: known values, planted biases that have to be seen, and released verdicts."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bench.quality import judges

from mainstay.core.answer import Answer
from mainstay.core.errors import BadRequest, ConfigError, NotFound
from mainstay.core.reasons import Status
from mainstay.doors.cli.calibrating import calibrate as calibrate_by_command
from mainstay.learn.judging import Row, agreement, calibrate, calibration, kappa, read_calibration, verdict_of
from mainstay.learn.length_bias import Judgement, corrected, length_bias, logistic
from mainstay.learn.length_bias import _across as across


def pairs(table: dict[tuple[str, str], int]) -> list[tuple[str, str]]:
    return [pair for pair, n in table.items() for _ in range(n)]


# Known values


@pytest.mark.parametrize(
    ("table", "value"),
    [
        ({("y", "y"): 20, ("y", "n"): 5, ("n", "y"): 10, ("n", "n"): 15}, 0.4),
        ({("y", "y"): 45, ("y", "n"): 15, ("n", "y"): 25, ("n", "n"): 15}, 0.1304),
        ({("y", "y"): 25, ("y", "n"): 35, ("n", "y"): 5, ("n", "n"): 35}, 0.2593),
        ({("a", "a"): 7, ("b", "b"): 3}, 1.0),
        ({("a", "b"): 5, ("b", "a"): 5}, -1.0),
        ({("a", "a"): 5, ("a", "b"): 5}, 0.0),
        ({("a", "b"): 5}, 0.0),
        ({("a", "a"): 5}, None),
    ],
)
def test_kappa_is_cohens(table: dict[tuple[str, str], int], value: float | None):
    """The textbook's tables have the textbook's kappa, and one that means nothing is not a number."""
    found = kappa(pairs(table))
    assert found == (None if value is None else pytest.approx(value, abs=5e-5))


def test_an_interval_holds_the_truth_as_often_as_it_says():
    """A 95 % interval that holds the true kappa in far fewer of a hundred draws would sell chance as quality."""
    draw = random.Random(1)
    held = 0
    for _ in range(100):
        drawn = [
            (label, label if draw.random() < 0.8 else other) for label, other in (draw.choice(("ab", "ba")) for _ in range(150))
        ]
        found = agreement(drawn).kappa  # 80 % agreement on two equally frequent labels is a kappa of 0.6
        assert found is not None and found.low <= found.value <= found.high
        held += found.low <= 0.6 <= found.high
    assert held >= 88


def test_a_logistic_regression_finds_the_weights_it_was_drawn_from():
    """Weights and their errors are those of the maximum likelihood, also where a plain Newton step would leave the world."""
    draw = random.Random(2)
    samples = []
    for _ in range(4000):
        x, z = draw.gauss(0, 1), draw.gauss(0, 2)
        samples.append(((1.0, x, z), float(draw.random() < 1 / (1 + math.exp(-(0.5 + 1.5 * x - 0.7 * z))))))
    weights, errors = logistic(samples)
    for weight, error, true in zip(weights, errors, (0.5, 1.5, -0.7), strict=True):
        assert abs(weight - true) < 4 * error < 0.5
    # One feature that is 0 or 1: the weights are the log-odds of each half, the error is that of a two by two table.
    table = [((1.0, 0.0), 1.0)] * 30 + [((1.0, 0.0), 0.0)] * 70 + [((1.0, 1.0), 1.0)] * 60 + [((1.0, 1.0), 0.0)] * 40
    (base, effect), (_, error) = logistic(table)
    assert base == pytest.approx(math.log(30 / 70), abs=0.01) and effect == pytest.approx(math.log(60 / 40 * 70 / 30), abs=0.01)
    assert error == pytest.approx(math.sqrt(1 / 30 + 1 / 70 + 1 / 60 + 1 / 40), abs=0.01)
    odd = [(0.13317440446406678, -2.9458860474692914, 0.0), (63.28757977275539, -0.09248516751436923, 1.0)]
    odd += [(-4.668389741088512, -2.5430630191707455, 0.0), (-2.7486497972155406, -0.7577649631834068, 0.0)]
    odd += [(0.18870096935851965, -0.44383923214449195, 1.0)]
    separated, _ = logistic([((1.0, x, z), yes) for x, z, yes in odd])
    assert separated == pytest.approx([3.54, 2.42, 2.70], abs=0.01)


# Planted biases


def drawn(n: int, *, for_length: float, for_first: float = 0.0, noise: float = 0.5, seed: int = 3) -> list[Row]:
    """Rows whose people prefer quality, and whose judge prefers quality, length and the first place by so much."""
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        quality, doublings = draw.gauss(0, 1), draw.gauss(0, 1)

        def asked(ahead: float, quality: float = quality, doublings: float = doublings) -> str:
            liking = quality + for_length * doublings + for_first * ahead + draw.gauss(0, noise)
            return "first" if liking > 0 else "second"

        lengths = (round(1000 * 2 ** (doublings / 2)), round(1000 * 2 ** (-doublings / 2)))
        human = "first" if quality + draw.gauss(0, 0.3) > 0 else "second"
        rows.append(Row(id=str(i), human=human, judge=asked(1), swapped=asked(-1), repeats=(asked(1), asked(1)), lengths=lengths))
    return rows


@pytest.mark.parametrize("for_length", [0.5, 1.0])
def test_a_planted_length_bias_is_seen_and_taken_out(for_length: float):
    """A judge that likes long answers looks like a good one until that is shown; corrected, it has no such liking left."""
    found = calibration(drawn(1500, for_length=for_length), judge="planted")
    assert found.length is not None and found.corrected is not None and found.prior is not None
    assert found.length.human.low < 1 < found.length.human.high, "people were drawn without a liking for length"
    assert found.length.beyond.low > 1.3 and found.length.judge.low > 1.3
    longer = found.length
    assert longer.longer_judge > longer.longer_human + 0.1
    assert abs(longer.longer_corrected - longer.longer_human) < 0.04
    assert found.prior.pull < 0
    assert found.corrected.agreement.value > found.overall.agreement.value + 0.02


def test_a_judge_without_a_length_bias_is_left_as_it_is():
    """A correction that finds a bias where there is none would make good judges worse."""
    found = calibration(drawn(1500, for_length=0.0), judge="fair")
    assert found.length is not None and found.corrected is not None and found.prior is not None
    assert found.length.beyond.low < 1 < found.length.beyond.high
    assert abs(found.prior.pull) < 0.1
    assert found.corrected.agreement.value > found.overall.agreement.value - 0.02


def test_the_correction_never_saw_the_row_it_corrects():
    """A correction that had seen the labels that it is measured by would always look like an improvement."""

    def knows(others: Sequence[Judgement]):
        seen = {row.pull for row in others}
        assert len(seen) == 80
        return lambda vote, pull: int(pull in seen)

    assert not any(across([Judgement(vote=1, human=1, pull=float(i)) for i in range(100)], knows))


def test_nothing_is_corrected_into_chance():
    """On labels that say nothing at all, corrected votes agree half the time."""
    draw = random.Random(4)
    rows = [Judgement(vote=draw.choice((-1, 0, 1)), human=draw.choice((-1, 1)), pull=draw.gauss(0, 1)) for _ in range(2000)]
    agreeing = sum(vote == row.human for vote, row in zip(corrected(rows), rows, strict=True)) / len(rows)
    assert agreeing < 0.54
    assert length_bias(rows, corrected(rows)).beyond.low < 1 < length_bias(rows, corrected(rows)).beyond.high


def test_a_planted_liking_for_the_first_place_is_seen():
    """A judge that likes whatever comes first flips with the order; one that does not is half and half."""
    biased = calibration(drawn(600, for_length=0, for_first=1.5), judge="first").position
    fair = calibration(drawn(600, for_length=0, for_first=0), judge="fair").position
    assert biased is not None and fair is not None and biased.first is not None and fair.first is not None
    assert biased.flips.low > 0.4 > fair.flips.high
    assert biased.first.low > 0.7 and fair.first.low < 0.5 < fair.first.high


def test_noise_is_the_share_of_repeats_that_say_something_else():
    """A judge that is not of one mind with itself cannot decide a small difference, and the gate has to know."""
    rows = [Row(human="first", judge="first", repeats=("first", "second", "tie", None))] * 10
    noise = calibration(rows, judge="noisy").noise
    assert noise is not None and noise.value == pytest.approx(2 / 3)
    assert calibration(drawn(50, for_length=0, noise=0.0), judge="steady").noise.value == 0  # type: ignore[union-attr]


def test_ties_divided_people_and_missing_verdicts_are_counted_and_not_dropped():
    """Rows that are left out in silence are how a judge gets good: garbage counts against it, and a flip is a tie."""
    rows = [
        Row(human=("first", "first", "second"), judge="first", swapped="first"),
        Row(human=("first", "second", "tie"), judge="tie"),
        Row(human="tie", judge="first", swapped="second"),
        Row(human="second", judge=None),
    ]
    assert [row.label() for row in rows] == ["first", "tie", "tie", "second"]
    assert [verdict_of(row) for row in rows] == ["first", "tie", "tie", "no verdict"]
    found = calibration(rows, judge="j")
    assert (found.n, found.silent, found.overall.agreement.value) == (4, 1, 0.75)
    assert found.decided is not None and found.decided.n == 2 and found.decided.agreement.value == 0.5
    assert found.length is None and found.corrected is None and not found.verified
    alone = calibration([Row(human=("passed", "failed"), judge="passed"), Row(human="passed", judge="passed")], judge="j")
    assert (alone.n, alone.contested) == (1, 1)


def test_categories_and_people_have_figures_of_their_own():
    """A judge that is right on the whole and wrong in one category is seen to be; people set the limit of what can be reached."""
    rows = [
        Row(human=("first", "first"), judge="first", category="easy"),
        Row(human=("second", "second"), judge="second", category="easy"),
    ] * 20
    rows += [
        Row(human=("first", "first"), judge="second", category="hard"),
        Row(human=("second", "first"), judge="tie", category="hard"),
    ] * 20
    found = calibration(rows, judge="j")
    easy, hard = found.categories["easy"], found.categories["hard"]
    assert (easy.agreement.value, easy.kappa.value) == (1, 1) and hard.agreement.value == 0.5  # type: ignore[union-attr]
    assert found.people is not None and 0.4 < found.people < 0.6


def test_a_judge_of_single_answers_is_calibrated_too():
    """Pointwise verdicts have no order, and a length bias all the same."""
    draw = random.Random(5)
    rows = []
    for _ in range(800):
        quality, doublings = draw.gauss(0, 1), draw.gauss(0, 1)
        human, judge = ["passed" if liking > 0 else "failed" for liking in (quality, quality + doublings)]
        rows.append(Row(human=human, judge=judge, lengths=(round(1000 * 2**doublings),)))
    found = calibration(rows, judge="alone")
    assert not found.compares and found.position is None and found.length is not None
    assert found.length.beyond.low > 1.5 and found.prior is not None and found.prior.pull < 0


# Files


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_calibration_file_is_read(tmp_path: Path, name: str):
    """JSON lines, zipped or not, with people's labels as one or several."""
    lines = ['{"human": ["first", "tie", "first"], "judge": "first", "swapped": null, "lengths": [3, 4]}', "", '{"human": "tie"}']
    write = gzip.open if name.endswith(".gz") else open
    with write(tmp_path / name, "wt") as file:
        file.write("\n".join(lines))
    first, second = read_calibration(tmp_path / name)
    assert (first.label(), first.judge, first.characters()) == ("first", "first", (3, 4))
    assert (second.label(), second.judge, second.characters()) == ("tie", None, ())


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('{"human": "first"}\n{"human": "frist"}', ":2: the row is not readable"),
        ('{"human": "first", "jugde": "first"}', "jugde"),
        ('{"human": ["first", "passed"]}', "`human` is"),
        ('{"human": []}', "`human` is"),
        ('{"human": "first", "judge": "passed"}', "`judge` is not about"),
        ('{"human": "passed", "swapped": "passed"}', "`judge` is not about"),
        ('{"human": "first", "lengths": [1]}', "`lengths` holds 2"),
        ('{"human": "first"}\n{"human": "passed"}', "two files"),
        ("", "no rows"),
        ("\xff", "not readable"),
    ],
)
def test_a_mistake_in_a_calibration_file_is_said_with_its_line(tmp_path: Path, lines: str, said: str):
    """A row that was understood wrongly, or skipped, would make figures that nobody can trust."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines.encode("latin-1"))
    with pytest.raises(ConfigError) as raised:
        read_calibration(path)
    assert said in str(raised.value)


def test_a_calibration_file_that_is_not_there_or_no_zip_is_an_error_of_the_project(tmp_path: Path):
    """The command ends with a sentence, not with a traceback."""
    (tmp_path / "bad.jsonl.gz").write_bytes(b"not zipped")
    for name in ("missing.jsonl", "bad.jsonl.gz", "."):
        with pytest.raises(ConfigError):
            read_calibration(tmp_path / name)


# Asking


async def test_a_judge_is_asked_in_both_orders_and_its_verdicts_are_turned_back():
    """What a judge says of places is not what it says of answers: a judge of "first, always" flips on every row."""
    asked: list[Any] = []

    async def ask(feature: str, input: Any) -> Answer:
        asked.append(input)
        return Answer(id="x", feature=feature, release="d", status=Status.ANSWERED, data={"better": "first"})

    rows = [Row(human="first", question="q", first="one", second="two"), Row(human="second", question="q", first="a", second="b")]
    seen: list[tuple[int, int]] = []
    found = await calibrate(ask, "j", rows, repeats=2, progress=lambda done, of: seen.append((done, of)))
    assert found.position is not None and found.position.flips.value == 1 and found.position.first is not None
    assert found.position.first.value == 1 and found.noise is not None and found.noise.value == 0
    assert found.overall.agreement.value == 0 and not found.verified
    assert len(asked) == 8 and asked[1] == {"question": "q", "first": "two", "second": "one"}
    assert seen == [(1, 2), (2, 2)]


async def test_half_a_verdict_is_none():
    """A judge that is silent in one of the two orders has not compared."""
    replies = iter([{"better": "first"}, None] * 2)

    async def ask(feature: str, input: Any) -> Answer:
        return Answer(id="x", feature=feature, release="d", status=Status.ANSWERED, data=next(replies))

    found = await calibrate(ask, "j", [Row(human="first", question="q", first="one", second="two")], repeats=0)
    assert (found.silent, found.overall.agreement.value) == (1, 0)


JUDGE = """
    summary = "Which answer is better?"
    deadline = "5s"

    [input]
    question = "text"
    first = "text"
    second = "text"

    [answer]
    schema = "answer.schema.json"

    [[ladder]]
    model = "small"
    prompt = "prompt.md"

    [[ladder]]
    message = { better = "tie" }
"""
SETTINGS = """
    [models.small]
    provider = "scripted"
    model = "small"
    options = { replies = ['{"better": "first"}', '{"better": "second"}', '{"better": "first"}'] }
"""
SCHEMA = {"type": "object", "required": ["better"], "properties": {"better": {"enum": ["first", "second", "tie"]}}}


async def test_the_command_calibrates_a_judge_through_serve_and_says_that_no_real_model_has_spoken(opened, tmp_path, capsys):
    """The judge is an ordinary feature; a scripted one's figures must never pass for evidence."""
    files = {
        "features/answers/answer.schema.json": json.dumps(SCHEMA),
        "features/answers/prompt.md": "{{ question }} {{ first }} {{ second }}",
    }
    app = opened(SETTINGS, JUDGE, files)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"human": "first", "question": "q", "first": "one", "second": "three"}) + "\n")
    assert await calibrate_by_command(app, "answers", path, json_=False) == 0
    out = capsys.readouterr().out
    assert "100.0%" in out and "UNVERIFIED" in out
    assert await calibrate_by_command(app, "answers", path, json_=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["verified"], found["position"]["flips"]["value"]) == (1, False, 0)
    records = await app.records(origin="judge")
    assert len(records) == 6
    with pytest.raises(NotFound, match="did you mean"):
        await calibrate_by_command(app, "answer", path, json_=False)
    path.write_text(json.dumps({"human": "passed", "question": "q", "answer": "one"}) + "\n")
    with pytest.raises(BadRequest, match="`answer`"):
        await calibrate_by_command(app, "answers", path, json_=False)
    path.write_text(json.dumps({"human": "first", "question": "q", "first": "one", "lengths": [3, 4]}) + "\n")
    with pytest.raises(BadRequest, match="row 1"):
        await calibrate_by_command(app, "answers", path, json_=False)
    assert len(await app.records(origin="judge")) == 6, "what cannot be calibrated costs nothing"


async def test_a_judge_that_never_gives_a_verdict_is_inconclusive(opened, tmp_path, capsys):
    """Its last message fits its schema; counted as verdicts, an outage would be an agreement."""
    files = {
        "features/answers/answer.schema.json": json.dumps(SCHEMA),
        "features/answers/prompt.md": "{{ question }} {{ first }} {{ second }}",
    }
    app = opened(SETTINGS.replace("replies =", "fault = 'rejected', replies ="), JUDGE, files)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"human": "tie", "question": "q", "first": "one", "second": "two"}) + "\n")
    assert await calibrate_by_command(app, "answers", path, json_=False) == 3
    assert "No verdict: 1 rows" in capsys.readouterr().out


# Released verdicts


def test_released_verdicts_have_the_published_accuracy(data: Path):
    """Our count of other people's judges is theirs: else no figure of ours means anything."""
    rows = judges.read(data / "judge_rerank" / "pandalm.jsonl.gz")
    for judge, (whole, kept) in judges.PANDALM_PUBLISHED.items():
        found = calibration(judges.pandalm(rows, judge), judge=judge, verified=True)
        implied = (whole * judges.WHOLE - kept * judges.KEPT) / (judges.WHOLE - judges.KEPT)
        assert found.overall.agreement.value == pytest.approx(implied, abs=judges.ROUNDED)
        assert found.people is not None and 0.85 <= found.people <= 0.885
        assert found.corrected is not None and found.length is not None
        assert found.corrected.agreement.value >= found.overall.agreement.value
        assert msgspec.json.encode(found)


def test_what_is_only_length_is_shown_to_be(data: Path):
    """On adversarial rows the longer answer is wrong: the prior is shown, and taken out."""
    rows = [row for row in judges.llmbar(judges.read(data / "judge_rerank" / "llmbar.jsonl.gz")) if row.category == "Neighbor"]
    found = calibration(rows, judge=judges.LONGER)
    assert found.overall.agreement.value < 0.2 and found.corrected is not None and found.corrected.agreement.value > 0.7
    assert not found.verified and found.length is not None and found.length.longer_judge == 1


def test_calibrating_runs_in_bounded_time():
    """A file of two thousand rows is a matter of seconds, not of minutes."""
    rows = drawn(2000, for_length=0.5)
    assert asyncio.run(asyncio.wait_for(asyncio.to_thread(calibration, rows, judge="j"), 60)).n == 2000
