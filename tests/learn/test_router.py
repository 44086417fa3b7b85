"""The router: learned from what each rung passed alone, obeyed by users' calls, measured on live ones."""

from __future__ import annotations

import asyncio
import json
import math
import random
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from releasing import MODEL, case, working, write_project

from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.errors import ConfigError
from mainstay.core.record import Attempt, Begun, Outcome, Record, Route
from mainstay.core.release import Switched
from mainstay.core.router import Choice, RouterFile, margin_for
from mainstay.core.seams import LedgerRow
from mainstay.core.units import Usd
from mainstay.doors.cli.main import main
from mainstay.learn.releasing import Wanted
from mainstay.learn.routed import measured
from mainstay.learn.router import Seen, TooFew, apgr, from_reports, learn, written
from mainstay.learn.trials import ROUTED as ROUTED_COHORT
from mainstay.parts.stores.memory import MemoryLedger
from mainstay.serve.router import SHAPE, Router, choose, shape_of, words_of
from mainstay.serve.spending import Account
from mainstay.testing import ODD_TEXTS

SETTINGS = """
[models.large]
provider = "routed_model:Skilled"
model = "large"
price = { input = "10 USD", output = "20 USD" }

[models.small]
provider = "routed_model:Skilled"
model = "small"
price = { input = "1 USD", output = "2 USD" }
"""
LADDER = """
summary = "Answers"
deadline = "5s"

[[ladder]]
model = "large"
prompt = "prompt.md"

[[ladder]]
model = "small"
prompt = "small.md"

[[ladder]]
message = "Sorry."

[gate]
online = ["live_scorers:Knows"]
"""
ROUTED = LADDER + '\n[router]\nfile = "router.json"\ngive_up = 0.05\ncheck = {check}\n'
KNOWS = '''
from mainstay.core.report import Opinion


class Knows:
    """Whether the answer is one."""

    async def score(self, subject):
        good = "know" not in subject.answer.text
        return Opinion(value=float(good), passed=good)
'''
FAILING = '''

class Failing(Skilled):
    """Is not there."""

    async def generate(self, request, *, stream):
        from mainstay.core.errors import Unreachable

        raise Unreachable("it is not there")
        yield
'''


def invoke(root: Path, *arguments: str) -> Result:
    """What a shell would show."""
    result = CliRunner().invoke(main, [*arguments, "-C", str(root)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def project_with_router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose large model knows a and b, whose small one knows a, and whose router has learned that."""
    root = write_project(
        tmp_path_factory.mktemp("routed"), skills=("a 95", "b 95"), categories={"a": 60, "b": 60}, feature=LADDER
    )
    (root / "mainstay.toml").write_text(SETTINGS)
    (root / "routed_model.py").write_text(MODEL + FAILING)
    (root / "live_scorers.py").write_text(KNOWS)
    (root / "features/desk/small.md").write_text("[system]\nskill: a 95\nsmall\n[user]\n{{ question }}\n")

    async def evaluated() -> None:
        async with working(root) as app:
            await app.desk.evaluate("desk", Wanted(rungs=True))

    asyncio.run(evaluated())
    shown = invoke(root, "learn", "router", "desk")
    assert shown.exit_code == 0, shown.output
    assert "Wrote features/desk/router.json, learned from 120 cases in 1 reports." in shown.output
    assert "Add to features/desk/feature.toml" in shown.output
    return root


@pytest.fixture
def routed(project_with_router: Path, tmp_path: Path) -> Path:
    """A copy of that project, with the router in force."""
    root = tmp_path / "project"
    shutil.copytree(project_with_router, root)
    (root / "features/desk/feature.toml").write_text(ROUTED.format(check=0))
    return root


async def test_a_call_starts_at_the_cheaper_rung_where_that_passes_as_well(routed: Path):
    """What the small model knows it answers, as a plain `answered`; the rest starts at the top, and the record says which."""
    async with working(routed) as app:
        easy, hard = await app.run("desk", question="a 1001"), await app.run("desk", question="b 1001")
        assert (easy.rung, easy.status, easy.reason) == ("small", "answered", None)
        assert (hard.rung, hard.status) == ("large", "answered")
        records = {r.id: r for r in await app.records(feature="desk", limit=5)}
        route = records[easy.id].outcome.route
        assert route is not None and (route.start, route.first) == ("small", "large") and route.behind < 0.3
        assert records[hard.id].outcome.route is None
        assert [a.model for a in records[easy.id].outcome.attempts] == ["small"]


@pytest.mark.parametrize("origin", ["eval", "judge", "shadow", "replay", "audit"])
async def test_only_the_calls_of_users_are_routed(routed: Path, origin: str):
    """What is measured or compared is answered from the top of the ladder, whatever it asks."""
    async with working(routed) as app:
        assert (await app.run("desk", question="a 1002", origin=origin)).rung == "large"


async def test_a_rung_that_fails_gives_way_to_the_better_one_first(routed: Path):
    """A bet on the cheaper rung that is lost costs time and no quality: the answer of the better rung is no degraded one."""
    (routed / "mainstay.toml").write_text(SETTINGS.replace('Skilled"\nmodel = "small"', 'Failing"\nmodel = "small"'))
    path = routed / "features/desk/router.json"
    path.write_text(path.read_text().replace("routed_model:Skilled small", "routed_model:Failing small"))
    async with working(routed) as app:
        answer = await app.run("desk", question="a 1003")
        assert (answer.rung, answer.status, answer.reason) == ("large", "answered", None)
        record = await app.record(answer.id)
        assert record is not None and {a.model for a in record.outcome.attempts} == {"small", "large"}


async def test_a_draft_that_a_guard_stops_goes_up_too(routed: Path):
    """The guard stops the small model's words; the large one, which was skipped, is asked before the message."""
    feature = routed / "features/desk/feature.toml"
    feature.write_text(feature.read_text() + '\n[guards]\noutput = [{ terms = ["I do not know"] }]\n')
    (routed / "features/desk/small.md").write_text("[system]\nsmall\n[user]\n{{ question }}\n")
    async with working(routed) as app:
        answer = await app.run("desk", question="a 1004")
        assert (answer.rung, answer.status) == ("large", "answered")


async def test_below_the_start_is_degraded(routed: Path):
    """Where neither the start nor what is above it answers, the message is a step down, and says why."""
    settings = SETTINGS.replace("Skilled", "Failing")
    (routed / "mainstay.toml").write_text(settings)
    path = routed / "features/desk/router.json"
    path.write_text(path.read_text().replace("routed_model:Skilled", "routed_model:Failing"))
    async with working(routed) as app:
        answer = await app.run("desk", question="a 1005")
        assert (answer.rung, answer.status, answer.reason) == ("message", "degraded", "model_unavailable")


async def test_what_is_switched_off_is_not_routed(routed: Path):
    """A kill switch takes the models away; no route may bring one back, or hide that the answer is degraded."""
    async with working(routed) as app:
        app.desk.board.switch("desk", Switched(off=True))
        app.follow()
        answer = await app.run("desk", question="a 1006")
        assert (answer.rung, answer.status, answer.reason) == ("message", "degraded", "switched_off")


@pytest.mark.parametrize(("asleep", "rung"), [("large", "small"), ("small", "large")])
async def test_a_rung_that_sleeps_is_none_to_choose(routed: Path, asleep: str, rung: str):
    """Where a model's key is not set here, the call starts at the top of what is left, and nothing is routed."""
    sleeping = SETTINGS.replace(f'model = "{asleep}"', f'model = "{asleep}"\nkey = "env:NO_SUCH_KEY_IS_SET"\noptional = true')
    (routed / "mainstay.toml").write_text(sleeping)
    async with working(routed) as app:
        answer = await app.run("desk", question="a 1008")
        record = await app.record(answer.id)
        assert (answer.rung, answer.status) == (rung, "answered")
        assert record is not None and record.outcome.route is None


async def test_a_field_of_the_request_says_where_it_starts(tmp_path: Path):
    """Where no word tells anything, the product that a request names does, from cases to calls."""
    declared = LADDER.replace('deadline = "5s"', 'deadline = "5s"\n\n[input]\nquestion = "text"\nproduct = "text"')
    cases = [case(product, n, input={"question": f"{n}", "product": product}) for product in ("a", "b") for n in range(60)]
    root = write_project(tmp_path, categories={}, feature=declared, cases=cases)
    (root / "mainstay.toml").write_text(SETTINGS)
    (root / "routed_model.py").write_text(MODEL)
    (root / "live_scorers.py").write_text(KNOWS)
    for name, skills in (("prompt", "skill: a 95\nskill: b 95"), ("small", "skill: a 95\nsmall")):
        (root / f"features/desk/{name}.md").write_text(f"[system]\n{skills}\n[user]\n{{{{ product }}}} {{{{ question }}}}\n")
    async with working(root) as app:
        await app.desk.evaluate("desk", Wanted(rungs=True))
    assert (await asyncio.to_thread(invoke, root, "learn", "router", "desk")).exit_code == 0
    (root / "features/desk/feature.toml").write_text(declared + ROUTED.format(check=0).removeprefix(LADDER))
    async with working(root) as app:
        rungs = {product: (await app.run("desk", question="1001", product=product)).rung for product in ("a", "b", "c")}
    assert rungs == {"a": "small", "b": "large", "c": "large"}


@pytest.mark.parametrize("signal", ["breaker", "busy", "money", "time"])
async def test_a_signal_of_the_moment_keeps_a_call_from_starting_there(routed: Path, signal: str):
    """A rung with an open breaker, too much to do, too dear or too slow just now is none to start at; the better one is."""
    async with working(routed) as app:
        ready = app.features.ready["desk"]
        small = ready.rungs[1]
        if signal == "breaker":
            for _ in range(5):
                ticket = small.models[0].breaker.admit(0.0)
                assert ticket is not None
                small.models[0].breaker.report(ticket, ok=False, now=asyncio.get_running_loop().time())
                if small.models[0].breaker.state == "open":
                    break
        elif signal == "busy":
            small.models[0].lanes.resize(0)
        elif signal == "money":
            app.parts = msgspec.structs.replace(app.parts, account=lambda call, ready: Account(per_call=Usd(1)))
        else:
            for _ in range(20):
                small.pace.add(60.0)
        answer = await app.run("desk", question="a 1007")
        record = await app.record(answer.id)
        assert record is not None and record.outcome.route is None
        assert answer.rung == ("message" if signal == "money" else "large")


async def test_the_loss_is_measured_on_live_calls(routed: Path):
    """A share of what starts lower is answered by the first rung too, unseen; the command says what that loses and saves."""
    (routed / "features/desk/feature.toml").write_text(ROUTED.format(check=1))
    async with working(routed) as app:
        for n in range(10):
            await app.run("desk", question=f"a {2000 + n}")
        await app.run("desk", question="b 2000")
        for _ in range(200):
            shadows = await app.records(feature="desk", origin="shadow", limit=50)
            if len(shadows) == 10 and all([await app.scores(r.id) for r in shadows]):
                break
            await asyncio.sleep(0.02)
        assert {r.outcome.answer.rung for r in shadows} == {"large"}
        users = {r.id for r in await app.records(feature="desk", origin="user", limit=50) if r.outcome.route is not None}
        assert {r.begun.call.parent for r in shadows} == users
    shown = invoke(routed, "learn", "router", "desk", "--live")
    assert shown.exit_code == 0
    assert "10 of the 11 newest calls started lower. Where calls start: small 91%, the top 9%." in shown.output
    assert "The first rung's answer to 10 of them scores" in shown.output
    assert "too few for an interval: it takes 30" in shown.output
    said = json.loads(invoke(routed, "learn", "router", "desk", "--live", "--json").output)
    assert said["routed"]["pairs"] == 10 and said["routed"]["saved"] == pytest.approx((100 * 9 + 10 * 18) * 1000)
    assert said["saved_in_all_nano_usd"] == said["routed"]["saved"] * 10 - said["routed"]["spent"]
    report = invoke(routed, "report", "desk").output
    assert "Router:\n  10 of the 11 newest calls" in report and "Saved beside always starting at the top" in report
    assert json.loads(invoke(routed, "report", "desk", "--json").output)["router"] == {
        name: said[name] for name in ("routed", "saved_in_all_nano_usd")
    }


def test_a_report_says_of_a_router_that_nothing_is_measured_yet(routed: Path, project_with_router: Path):
    """Before the first call it says so; a feature without a router has no word of one, whatever is live."""
    assert "Router:\n  No call has climbed the ladder yet." in invoke(routed, "report", "desk").output
    assert "Router" not in invoke(project_with_router, "report", "desk").output
    assert json.loads(invoke(project_with_router, "report", "desk", "--json").output)["router"] is None


def test_a_report_counts_the_calls_of_the_release_that_is_live(routed: Path):
    """Where calls start is told of what serves now, and not of releases before it."""
    with working(routed) as app:
        app.run_sync("desk", question="a 4000")
    assert "1 of the 1 newest calls" in invoke(routed, "report", "desk").output
    feature = routed / "features/desk/feature.toml"
    feature.write_text(feature.read_text().replace("Sorry.", "So sorry."))
    assert invoke(routed, "release", "desk", "--override", "the gate was not asked").exit_code == 0
    assert "Router:\n  No call has climbed the ladder yet." in invoke(routed, "report", "desk").output


def lived(n: int, *, started: bool, parent: str | None = None, cost: int) -> Record:
    """A sealed record of a call that started lower, or of the first rung's answer to one."""
    call = Call(
        id=f"{'shadow' if parent else 'call'}-{n}",
        feature="desk",
        input={"question": "?"},
        origin="shadow" if parent else "user",
        parent=parent,
        cohort=f"{ROUTED_COHORT}0" if parent else None,
    )
    route = Route(start="small", first="large", behind=0.0) if started else None
    return Record(
        begun=Begun(id=call.id, at=float(n), release="1", call=call),
        outcome=Outcome(
            id=call.id,
            answer=Answer(id=call.id, feature="desk", release="1", status="answered", text="x", rung="small"),
            took_us=1,
            attempts=(Attempt(rung="small", outcome="ok"),),
            cost_nano_usd=cost,
            route=route,
        ),
    )


def test_what_measuring_cost_is_counted_over_the_calls_that_are_counted(monkeypatch: pytest.MonkeyPatch):
    """Second answers reach further back than the newest calls do, since few get one; older ones take nothing from the saving."""
    monkeypatch.setattr("mainstay.learn.routed.MOST", 20)
    ledger, kept = MemoryLedger(), list[Record]()
    for n in range(40):
        kept.append(lived(n, started=True, cost=1))
        if n % 2:
            kept.append(lived(n, started=False, parent=f"call-{n}", cost=10))
    cached = lived(41, started=False, cost=0)
    kept.append(msgspec.structs.replace(cached, outcome=msgspec.structs.replace(cached.outcome, attempts=())))
    encode = msgspec.json.encode
    ledger.write([LedgerRow(one.id, encode(one.begun), encode(one.outcome)) for one in kept])
    found = measured(ledger, "desk")
    assert (found.calls, found.lower, found.saved) == (19, 19, 9.0)  # an answer from the cache started nowhere
    assert found.spent == 10 * 10 and found.saved_in_all == 19 * 9 - 100


async def test_no_share_no_second_answer(routed: Path):
    """With `check = 0`, or where nothing would judge the answers, no call is answered twice."""
    async with working(routed) as app:
        await app.run("desk", question="a 3000")
    (routed / "features/desk/feature.toml").write_text(ROUTED.format(check=1).replace("online = ", "scorers = "))
    async with working(routed) as app:
        await app.run("desk", question="a 3001")
        await asyncio.sleep(0.1)
        assert not await app.records(feature="desk", origin="shadow")
    assert "is not measured yet" in invoke(routed, "learn", "router", "desk", "--live").output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"feature": "desk"', '"feature": "shop"'), 'it was learned for the feature "shop"'),
        (
            lambda text: text.replace('"name": "small"', '"name": "tiny"'),
            "it was learned for another ladder: large (model, routed",
        ),
        (lambda text: text.replace("Skilled small", "Skilled smaller"), "it was learned for another ladder"),
        (lambda text: text.replace('"format": 2', '"format": 1'), "a router of format 1; this version reads format 2"),
        (lambda text: text[:-20], "not JSON"),
        (lambda text: text.replace('"mean": [', '"mean": [1.0,'), f"a shape of other than {len(SHAPE)} numbers"),
        (lambda text: text.replace('"unseen": [', '"unseen": [1.0,'), "do not go together"),
        (lambda text: "{}", "not a router that can be used"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error_with_a_next_step(routed: Path, change: Any, said: str):
    """A router of another feature, ladder or version, or a broken one, is refused when the feature is loaded."""
    path = routed / "features/desk/router.json"
    before = path.read_text()
    assert change(before) != before
    path.write_text(change(before))
    with pytest.raises(ConfigError) as caught:
        working(routed)
    assert said in str(caught.value) and "features/desk/router.json" in str(caught.value)
    assert "mainstay eval desk --rungs and mainstay learn router desk" in str(caught.value)


def test_a_router_that_is_missing_says_what_to_type(routed: Path):
    """The file is named and not there yet."""
    (routed / "features/desk/router.json").unlink()
    with pytest.raises(ConfigError, match="mainstay learn router desk"):
        working(routed)


def test_the_router_is_part_of_the_release(routed: Path):
    """What decides who answers is in the digest: another router is another release."""
    path = routed / "features/desk/router.json"
    with working(routed) as app:
        before = app.features.ready["desk"].digest
    path.write_text(path.read_text().replace('"bias":', '"bias" :'))
    with working(routed) as app:
        assert app.features.ready["desk"].digest != before


def test_reports_of_other_prompts_teach_nothing(routed: Path):
    """What a rung passed with another prompt says nothing of this one, and the command says what is missing instead."""
    (routed / "features/desk/small.md").write_text("[user]\n{{ question }}\n")
    shown = invoke(routed, "learn", "router", "desk")
    assert shown.exit_code == 3
    assert "0 cases were judged for every rung alone; it takes 100, so add 100 or more" in shown.output
    assert "next: mainstay eval desk --rungs" in shown.output


# Learning


LARGE, SMALL = Choice(name="large", kind="model"), Choice(name="small", kind="model")


def made_up(n: int, *, seed: int = 1, category: bool = True) -> list[Seen]:
    """Questions of which the small model passes short ones about tea and few others."""
    chance, found = random.Random(seed), []
    for i in range(n):
        tea = chance.random() < 0.5
        subject = "tea kettle leaves" if tea else "tax income statement"
        text = f"{subject} {chance.choice(['when', 'how', 'where'])} number {i}" + " more" * chance.randrange(8)
        small = float(chance.random() < (0.93 if tea else 0.3))
        kind = ("tea" if tea else "tax") if category else ""
        passed = (float(chance.random() < 0.93), small)
        found.append(Seen(values={"question": text}, category=kind, passed=passed, cost=(1000.0, 10.0), took=(2e6, 1e6)))
    return found


@pytest.mark.parametrize("category", [True, False])
def test_it_learns_what_tells_the_rungs_apart(category: bool):
    """With categories or from words alone; on cases that it had not seen, the loss is near what the team gives up."""
    file = learn(made_up(400, category=category), [LARGE, SMALL], names=["question"], feature="f", date="2026-11-21")
    assert not isinstance(file, TooFew) and file.card.apgr is not None and file.card.apgr > 0.7
    router = Router(file, names=("question",), give_up=0.02, check=0.0)
    unseen = made_up(1000, seed=2)
    lower = [one for one in unseen if router.losses(one.values)[1] <= router.margin]
    assert 300 < len(lower) < 650
    assert sum(one.passed[0] - one.passed[1] for one in lower) / len(unseen) < 0.05
    assert learn(made_up(400, category=category), [LARGE, SMALL], names=["question"], feature="f", date="2026-11-21") == file
    assert json.loads(written(file))["card"]["cases"] == 400


def test_the_curve_gives_up_no_more_than_it_is_told():
    """Nothing given up is nothing lost; the interval holds the loss; at the far end every call starts at the cheaper rung."""
    file = learn(made_up(300), [LARGE, SMALL], names=["question"], feature="f", date="d")
    assert not isinstance(file, TooFew)
    points = {point.margin: point for point in file.card.curve}
    for give_up in (0.0, 0.01, 0.05):
        margin = margin_for(file.card.curve, give_up)
        assert margin is not None and points[margin].loss <= give_up
    assert all(point.low <= point.loss <= point.high for point in points.values())
    assert points[1.0].starts == (0.0, 1.0) and points[-1.0].starts == (1.0, 0.0) and points[-1.0].loss == 0


def test_too_few_cases_say_how_many_are_missing():
    """No router from what could be chance, none where there is nothing to choose or to save; each says why."""
    few = learn(made_up(40), [LARGE, SMALL], names=["question"], feature="f", date="d")
    assert isinstance(few, TooFew) and "40 cases were judged for every rung alone; it takes 100, so add 60 or more" in few.missing
    alone = learn(made_up(200), [LARGE], names=["question"], feature="f", date="d")
    assert isinstance(alone, TooFew) and "only one rung" in alone.missing[0]
    same = [Seen(values={"question": f"{i}"}, passed=(1.0, 1.0), cost=(9.0, 1.0), took=(1.0, 1.0)) for i in range(200)]
    equal = learn(same, [LARGE, SMALL], names=["question"], feature="f", date="d")
    assert isinstance(equal, TooFew) and "on 0 of 200 cases" in equal.missing[0]
    dear = [Seen(values=s.values, passed=s.passed, cost=(10.0, 1000.0), took=s.took) for s in made_up(200)]
    assert isinstance(learn(dear, [LARGE, SMALL], names=["question"], feature="f", date="d"), TooFew)


@pytest.mark.parametrize("text", ["", "Describe this picture."])
def test_cases_that_all_ask_in_the_same_words_teach_nothing(text: str):
    """A feature whose calls differ by their images alone has no text to route by: that is said, and nothing is raised."""
    passed = [(1.0, float(i % 2)) for i in range(200)]
    same = [
        Seen(values={"question": text, "image": f"{i}"}, passed=p, cost=(9.0, 1.0), took=(1.0, 1.0)) for i, p in enumerate(passed)
    ]
    found = learn(same, [LARGE, SMALL], names=["question"], feature="f", date="d")
    assert isinstance(found, TooFew)
    assert found.missing == ("the 200 cases have 1 different texts; it takes 20 to try a router on texts that it has not seen",)


def of_a_product(n: int, *, seed: int = 1) -> list[Seen]:
    """Questions of which the small model passes those about one product, which no word of them tells; `size` is a number."""
    chance, found = random.Random(seed), []
    for _ in range(n):
        size = chance.randrange(2)
        small = float(chance.random() < (0.95 if size else 0.3))
        words = " ".join(chance.choices(["how", "when", "where", "why", "who", "much", "long"], k=6))
        values = {"question": words, "product": ["tea", "tax"][size], "size": size, "note": words[::-1], "more": [words]}
        found.append(Seen(values=values, passed=(0.95, small), cost=(1000.0, 10.0), took=(2e6, 1e6)))
    return found


def test_an_input_field_of_few_values_tells_the_rungs_apart():
    """What a request says of its kind in a field of its own counts beside its words, as a text or as a number; texts do not."""
    file = learn(of_a_product(300), [LARGE, SMALL], names=["question", "product", "note"], feature="f", date="d")
    assert not isinstance(file, TooFew) and file.card.apgr is not None and file.card.apgr > 0.7
    assert {name: sorted(told) for name, told in file.tables.of_field.items()} == {"product": ["tax", "tea"], "size": ["0", "1"]}
    assert "tea" not in file.tables.of_rung  # a word of the field is none of the text
    router = Router(msgspec.json.decode(written(file), type=RouterFile), names=["question"], give_up=0.05, check=0.0)
    tea, tax = ({"question": "how much", "product": name, "size": float(i)} for i, name in enumerate(["tea", "tax"]))
    assert router.losses(tax)[1] < 0.1 < 0.4 < router.losses(tea)[1]
    with_all_names = Router(file, names=["question", "product", "note"], give_up=0.05, check=0.0)
    assert with_all_names.losses(tea | {"note": ""}) == router.losses(tea | {"question": "how much\n"})
    assert router.losses(tax | {"product": "never seen"}) == [0.0, math.inf]


@pytest.mark.parametrize(
    "odd", [None, "", "\ud800", "x" * 100_000, 10**5000, -1.5, math.inf, math.nan, True, ["a"], {"a": 1}], ids=map(str, range(11))
)
def test_any_value_of_a_field_is_routed(odd: object):
    """A call with what no case had in that field starts at the top, whatever it is."""
    file = learn(of_a_product(200), [LARGE, SMALL], names=["question"], feature="f", date="d")
    assert not isinstance(file, TooFew)
    router = Router(file, names=["question"], give_up=0.05, check=0.0)
    assert router.losses({"question": "how much", "product": odd, "size": odd}) == [0.0, math.inf]


@pytest.mark.parametrize(
    "text", ["", *ODD_TEXTS, "как дела? " * 10_000, "退货政策是什么？" * 12_000, "word " * 20_000, "a\n" * 50_000]
)
def test_any_text_is_routed_in_a_moment(text: str):
    """Nothing that a user sends makes routing fail or wait: long texts, other scripts, and none at all."""
    file = learn(made_up(200), [LARGE, SMALL], names=["question"], feature="f", date="d")
    assert not isinstance(file, TooFew)
    router = Router(file, names=["question"], give_up=0.05, check=0.0)
    began = time.process_time()
    told = router.losses({"question": text})
    assert time.process_time() - began < 0.25
    assert math.isfinite(told[1]) or told == [0.0, math.inf]


def test_a_text_like_none_of_the_cases_starts_at_the_top():
    """A language or a subject that no case has is no bet, also where so much may be lost that every case starts lower."""
    file = learn(made_up(200), [LARGE, SMALL], names=["question"], feature="f", date="d")
    assert not isinstance(file, TooFew)
    router = Router(file, names=["question"], give_up=1.0, check=0.0)
    assert router.margin == 1.0
    for text, start in (("tea kettle", 1), ("退货政策是什么", 0), ("Wie lange dauert das?", 0), ("", 1)):
        assert choose(router.losses({"question": text}), router.alone, router.margin, (0, 1)) == start


def test_a_case_without_a_judgement_says_nothing():
    """A report without a rung, or a case that one rung was not judged on, is left out."""
    from test_task_fit import report, side, up_to

    whole = report(large=side(up_to(40), 100), small=side(up_to(20, of=30), 1))
    found = from_reports([whole, whole], [LARGE, SMALL], read=lambda given: {"question": "text"})
    assert len(found) == 1  # the cases of that helper all have the same input
    assert from_reports([report(large=side(up_to(40), 1))], [LARGE, SMALL], read=lambda given: {"question": "text"}) == []


def test_the_figures_of_routing_by_hand():
    """APGR is 1/2 for what knows nothing, and the area by hand for what knows all: here the gain is had at once, then kept."""
    weak, strong = [0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]
    assert apgr([0.0] * 4, weak, strong)[0] == pytest.approx(0.5)
    area, half, most = apgr([1.0, 0.0, 1.0, 0.0], weak, strong)
    assert (area, half, most) == (pytest.approx(0.75), pytest.approx(0.25), pytest.approx(0.4))
    assert math.isnan(apgr([0.0], [1.0], [1.0])[0])


@pytest.mark.parametrize("text", ["", *ODD_TEXTS])
def test_any_text_has_a_shape_and_words(text: str):
    """Nothing that a user sends may make routing fail."""
    assert len(shape_of(text)) == len(SHAPE) and all(map(math.isfinite, shape_of(text)))
    assert isinstance(words_of(text), set)


def test_words_of_languages_without_spaces():
    """Scripts that put no spaces between words give pairs of signs; numbers are one word whatever they are."""
    assert words_of("退货政策 42") == {"退货", "货政", "政策", "0"}
    assert words_of("Straße GRÖßE") == {"strasse", "grösse"}
