"""Near hits, through the door: who is given the answer to a question in nearly the same words, and who is not."""

from __future__ import annotations

import asyncio
import json
import random
import time

import pytest
from click.testing import CliRunner

import mainstay
from mainstay.core.near import Question
from mainstay.doors.cli.main import main
from mainstay.learn import minding
from mainstay.learn.readiness import checklist
from mainstay.parts import nearness

NEAR = """
    summary = "Answers"
    deadline = "2s"
    [input]
    question = "text"
    product = "text?"
    number = "number?"
    picture = "image?"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    [[ladder]]
    message = "Sorry."
    [cache]
    keep = "1h"
    near = "auto"
    checked = 0.0
"""
MODEL = """
    [models.small]
    provider = "scripted"
    price = { input = "1 USD", output = "2 USD" }
"""


def measured(**changes: object) -> dict[str, str]:
    """A near.json by which near hits are on."""
    file = {
        "fitted": "2026-11-21",
        "verifier": nearness.shared().name,
        "target": 0.01,
        "threshold": 0.5,
        "upper": 0.008,
        "asked": 1000,
        "hits": 600,
        "wrong": 0,
        **changes,
    }
    return {"features/answers/near.json": json.dumps(file)}


ASKED = "How can I reset my password?"
SAME = "how can i reset my password"


@pytest.fixture
def app(opened):
    """A project whose feature has near hits on."""
    return opened(MODEL, NEAR, files=measured())


async def test_a_near_question_is_given_the_answer_and_marked(app):
    """The answer of the earlier call, by the guards, with the status `cached`, and the record names that call and its cost."""
    first = await app.run("answers", question=ASKED)
    events = [event async for event in app.stream("answers", question=SAME, progress=True)]
    answer = events[-1]
    assert (first.status, answer.status, answer.text) == ("answered", "cached", first.text)
    assert "near" in [event.name for event in events if hasattr(event, "detail") and hasattr(event, "name")]
    record = await app.record(answer.id)
    recalled = record.outcome.recalled
    assert recalled.of == first.id and recalled.near >= 0.5
    assert recalled.cost_nano_usd == (await app.record(first.id)).outcome.cost_nano_usd > 0
    assert record.outcome.cost_nano_usd == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("How do I cancel order 4711?", "How do I cancel order 4712?"),
        ("Can I cancel my order?", "Can I not cancel my order?"),
        ("Who do I ask about my order?", "Why do I ask about my order?"),
        ("How do I convert EUR to USD?", "How do I convert USD to EUR?"),
        ("Is the shop open on Monday?", "Is the shop open on Tuesday?"),
        ("Does the box weigh 2 kg?", "Does the box weigh 2 g?"),
        ("How do I travel to Berlin with my dog?", "How do I travel to Hamburg with my dog?"),
        ("How can I learn C++ quickly?", "How can I learn C# quickly?"),
        ("Is there a fee for the premium account?", "Is there a fee for the premium account before June 3?"),
        ("Wie kündige ich mein Konto?", "Wie kündige ich mein Konto nicht?"),
        ("Can I open an account?", "Can I close an account?"),
        ("Hotel information please", "Hotelinformationen bitte für ein Hotel"),
        ("How do I move money from checking to savings?", "How can I move money from savings to checking?"),
        ("Is the blender better than the mixer?", "Is the mixer better than the blender?"),
        ("What does 🙂 mean?", "What does 🙁 mean?"),
        ("How do I change my address?", "How do I change his address?"),
        ("How do I avoid the fee?", "How do I pay the fee?"),
        ("Is the shop open on Sun?", "Is the shop open on Mon?"),
        ("Is the shop open?", "Is the shop open on Monday?"),
        ("How do I cancel my order?", "How do I track my order?"),
        ("The door does not open. Can I return it?", "The door does not open. Can I not return it?"),
    ],
)
async def test_a_near_miss_is_another_question(app, first, second):
    """Another number, name, day, unit, sign or language, a turned direction, a "not", an opposite: the model is asked."""
    await app.run("answers", question=first)
    assert (await app.run("answers", question=second)).status == "answered"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("How do I get a refund & a receipt?", "How do I get a refund and a receipt?"),
        ("What is the difference between a voucher and a discount?", "What is the difference between a discount and a voucher?"),
        ("🙂 How do I reset my password?", "How do I reset my password?"),
        ("Is there a note on my parcel?", "Are there notes on my parcel?"),
        ("Is there a pass for the parking space?", "Are there passes for the parking space?"),
        ("Once registered, how do I pay?", "How do I pay when registered?"),
    ],
)
async def test_what_only_looks_like_a_difference_is_none(app, first, second):
    """A note is no "not", `once` is no eleven; an emoji, an `&` and the order of a list change nothing."""
    await app.run("answers", question=first)
    assert (await app.run("answers", question=second)).status == "cached"


async def test_the_best_of_many_questions_is_found(app):
    """What shares a few words and says much more is no nearer than what says the same."""
    dice = random.Random(7)
    for _ in range(80):
        thing, other = ("".join(dice.choices("abcdefghijklmno", k=9)) for _ in range(2))
        text = f"How do I reset the {thing} if the lamp beside it was printed with a password and a {other}?"
        assert (await app.run("answers", question=text)).status == "answered"
    first = await app.run("answers", question="How do I reset a password of my lamp?")
    answer = await app.run("answers", question="How do I reset the password of my lamp")
    assert (answer.status, (await app.record(answer.id)).outcome.recalled.of) == ("cached", first.id)


OTHERS = [
    {"tenant": "globex"},
    {"roles": ("staff",)},
    {"locale": "de-CH"},
    {"number": 3},
    {"product": "A second text"},
    {"picture": "https://example.com/a.png"},
]


@pytest.mark.parametrize("other", OTHERS, ids=[next(iter(other)) for other in OTHERS])
async def test_nobody_is_given_what_the_exact_cache_would_not_give(app, other):
    """Tenant, roles, locale and every other field have to be the same; a call with two texts or an image is never near."""
    await app.run("answers", question=ASKED)
    assert (await app.run("answers", question=SAME, **other)).status == "answered"
    never = {*other} & {"product", "picture"}
    assert (await app.run("answers", question=f"{SAME}?", **other)).status == ("answered" if never else "cached")


async def test_a_conversation_is_never_answered_by_a_near_one(opened):
    """What was said before decides what a question means."""
    app = opened(MODEL, NEAR.replace('deadline = "2s"', 'deadline = "2s"\n    history = 4'), files=measured())
    history = [{"role": "user", "text": "I mean the other account"}]
    await app.run("answers", question=ASKED, history=history)
    assert (await app.run("answers", question=SAME, history=history)).status == "answered"


async def test_a_guard_sees_what_a_near_hit_would_show(opened):
    """An answer that today's guards stop is not given to a near question either."""
    feature = NEAR + '    [guards]\n    output = ["near_guards:Upper"]\n'
    guard = """
        from mainstay.core.draft import ALLOW, refuse
        from mainstay.core.reasons import Reason

        class Upper:
            hold = 0
            async def check(self, draft):
                return refuse(Reason.UNSAFE_OUTPUT, "no") if draft.call.input.get('question', 'X')[0].islower() else ALLOW
    """
    app = opened(MODEL, feature, files={**measured(), "near_guards.py": guard})
    await app.run("answers", question=ASKED)
    assert (await app.run("answers", question=SAME)).status != "cached"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"upper": 0.02, "wrong": 1}, "1 of 600 measured near hits were wrong, so with 95 % confidence up to 2.00% are"),
        ({"verifier": "another"}, "they were measured with the verifier another"),
        ({"embedder": "wordllama"}, "they were measured with the embedder wordllama"),
        (None, "nothing was measured yet; next: mainstay learn near answers"),
    ],
)
async def test_near_hits_stay_off_until_few_enough_are_shown_to_be_wrong(opened, caplog, changes, why):
    """Above the target, with other weights or vectors, or without a measurement, the cache is exact and the log says why."""
    app = opened(MODEL, NEAR, files={} if changes is None else measured(**changes))
    await app.run("answers", question=ASKED)
    assert (await app.run("answers", question=SAME)).status == "answered"
    assert why in app.features.ready["answers"].near_off
    assert why in caplog.text


async def test_the_file_is_part_of_the_release(project):
    """Another threshold is another release: what was evaluated is what is served."""
    import mainstay

    digests = set()
    for threshold in (0.5, 0.9):
        async with mainstay.open(project(MODEL, NEAR, measured(threshold=threshold)), environ={}, dev=True) as app:
            digests.add(app.features.ready["answers"].digest)
    assert len(digests) == 2


async def test_hits_are_answered_anew_beside_and_judged(opened):
    """The second answer is a shadow's, after the user has the first; what comes of the comparison is a score of the hit."""
    settings = MODEL + '    options = { replies = ["It takes 3 days.", "It takes 5 days."] }\n'
    app = opened(settings, NEAR.replace("checked = 0.0", "checked = 1.0"), files=measured())
    await app.run("answers", question=ASKED)
    answer = await app.run("answers", question=SAME)
    assert answer.text == "It takes 3 days."
    for _ in range(100):
        if scores := await app.scores(answer.id):
            break
        await asyncio.sleep(0.05)
    assert [(s.name, s.value) for s in scores] == [("near", 0.0)]
    shadows = await app.records(origin="shadow")
    assert [record.begun.call.parent for record in shadows] == [answer.id]


async def test_what_near_hits_keep_in_mind_is_bounded():
    """A process that answers for months does not grow."""
    from mainstay.serve import nearing

    nearby = nearing.Nearby(nearness.shared())
    for n in range(nearing.QUESTIONS + 50):
        question = Question(partition=b"a", text=f"Where is parcel number {n} of the warehouse?")
        nearby.put(f"{n}".encode(), question)
    assert len(nearby._kept[b"a"].texts) == nearing.QUESTIONS == nearby._size


async def test_vectors_find_questions_too(opened):
    """With an embedder, the threshold is for words and vectors together, and candidates come from both."""
    pytest.importorskip("wordllama")
    feature = NEAR.replace('near = "auto"', 'near = "auto"\n    embedder = "local"')
    settings = MODEL + '    [embedders.local]\n    kind = "local"\n'
    app = opened(settings, feature, files=measured(embedder="wordllama:l2_supercat/256"))
    await app.run("answers", question=ASKED)
    assert (await app.run("answers", question=SAME)).status == "cached"


async def eventually(asked, wanted, seconds=20.0):
    """The status of a call that is made anew until it is this one, which takes as long as another process needs to notice."""
    until, n = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        n += 1
        status = (await asked(n)).status
        if status == wanted:
            break
        await asyncio.sleep(0.2)
    return status


def forms(n):
    """The question in other words, never twice the same, so that no exact hit is taken for a near one."""
    return f"how can i reset my password{'?' * n}"


async def known(least, app, seconds=20.0):
    """Wait until so many questions are known to a process."""
    until = time.monotonic() + seconds
    while app.parts.nearby._size < least and time.monotonic() < until:
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("embedder", ["", 'embedder = "local"'])
async def test_near_questions_outlive_a_restart_and_are_shared(project, embedder):
    """What was answered before a process began, and what another one answers, is found, for the same tenants as ever."""
    if embedder:
        pytest.importorskip("wordllama")
    settings = MODEL + '    [embedders.local]\n    kind = "local"\n'
    feature = NEAR.replace('near = "auto"', f'near = "auto"\n    {embedder}')
    root = project(settings, feature, measured(embedder="wordllama:l2_supercat/256" if embedder else ""))
    async with mainstay.open(root, environ={}, dev=True) as first:
        await first.run("answers", question=ASKED)
    async with mainstay.open(root, environ={}, dev=True) as again, mainstay.open(root, environ={}, dev=True) as beside:
        await known(1, again)
        assert (await again.run("answers", question=SAME, tenant="globex")).status == "answered"
        assert (await again.run("answers", question=SAME)).status == "cached"
        await again.run("answers", question="Where is the parcel that I sent back in spring?")
        await known(3, beside)
        assert (await beside.run("answers", question="where is the parcel that i sent back in spring")).status == "cached"


@pytest.mark.parametrize("private", ['log = "redacted"', 'log = "none"', '[guards]\n    input = ["secrets"]'])
async def test_a_question_that_is_hidden_lies_on_no_disk(project, private):
    """Where a feature keeps texts out of its records, or hides personal data, the cache holds no question of it either."""
    line, guards = (private, "") if private.startswith("log") else ("", f"    {private}\n")
    feature = NEAR.replace('deadline = "2s"', f'deadline = "2s"\n    {line}') + guards
    root = project(MODEL + '    options = { replies = ["At home."] }\n', feature, measured())
    async with mainstay.open(root, environ={}, dev=True) as app:
        await app.run("answers", question="Where is the zebra of Anna?")
        state = app.state
        assert (await app.run("answers", question="where is the zebra of Anna")).status == "cached"
    assert (state / "cache.db").exists()
    assert not [path for path in state.glob("cache.db*") if b"where is the zebra" in path.read_bytes().lower()]


async def test_too_many_wrong_hits_turn_near_hits_off_everywhere_until_they_are_measured_anew(project, caplog, monkeypatch):
    """What live hits prove wins over what was measured before: in every process, with a line that says why, and no longer than
    until another measurement.
    """
    monkeypatch.setattr(minding, "COUNT", 0.2)
    root = project(MODEL, NEAR, measured())
    async with mainstay.open(root, environ={}, dev=True) as app, mainstay.open(root, environ={}, dev=True) as beside:
        await app.run("answers", question=ASKED)
        for n in range(4):
            answer = await app.run("answers", question=forms(n))
            assert answer.status == "cached"
            await app.score(answer.id, "thumb", 0.0)
        assert await eventually(lambda n: app.run("answers", question=forms(n + 10)), "answered") == "answered"
        until = time.monotonic() + 20
        while not beside.parts.nearby.off and time.monotonic() < until:
            await asyncio.sleep(0.1)
        await known(1, beside)
        assert (await beside.run("answers", question=forms(90))).status == "answered"
        assert "4 of 4 live near hits that were judged were wrong" in caplog.text
        lines = {line.name: line for line in checklist(await app.workshop.known("answers"))}
        assert (lines["near hits"].standing, lines["near hits"].next) == ("not met", "mainstay learn near answers")
        assert "4 of 4 live near hits" in lines["near hits"].what
    shown = CliRunner().invoke(main, ["cache", "answers", "-C", str(root)])
    assert "Near hits turned themselves off" in shown.output and "next: mainstay learn near answers" in shown.output
    (root / "features/answers/near.json").write_text(next(iter(measured(wrong=1, hits=900).values())))
    assert "turned themselves off" not in CliRunner().invoke(main, ["cache", "answers", "-C", str(root)]).output
    async with mainstay.open(root, environ={}, dev=True) as app:
        await app.run("answers", question=ASKED)
        await asyncio.sleep(1.5)
        assert (await app.run("answers", question=SAME)).status == "cached"


async def test_a_few_wrong_hits_among_many_turn_nothing_off(project, monkeypatch):
    """Bad luck is no proof: as long as the share may be below the target, near hits stay on."""
    monkeypatch.setattr(minding, "COUNT", 0.2)
    root = project(MODEL, NEAR.replace('near = "auto"', 'near = "auto"\n    wrong_hits = 0.3'), measured(target=0.3))
    async with mainstay.open(root, environ={}, dev=True) as app:
        await app.run("answers", question=ASKED)
        for n in range(4):
            answer = await app.run("answers", question=forms(n))
            await app.score(answer.id, "thumb", float(n % 2))
        await asyncio.sleep(3)
        assert (await app.run("answers", question=forms(20))).status == "cached"
