"""What a call asks beside its model spends from the same account: classifiers, embedders, rerankers, and other features."""

from __future__ import annotations

import asyncio

import pytest

from mainstay import testing
from mainstay.core.errors import ConfigError
from projects import PRICED, feature

WATCHED = f"""{PRICED}
[classifiers.watcher]
kind = "watching:Watcher"
%s
"""
FEATURE = feature("""
    [guards]
    input = [{ "watching:Watched" = { classifier = "watcher" } }]

    [limits]
    %s
""")
WATCHING = {
    "watching.py": """
from mainstay.core.draft import ALLOW, refuse
from mainstay.core.errors import ModelError
from mainstay.core.reasons import Reason

class Watcher:
    def __init__(self, service, *, key, http):
        self.asked = 0

    async def classify(self, texts):
        self.asked += 1
        return [{"bad": 0.0} for _ in texts]

class Watched:
    hold = 0

    def __init__(self, *, classifier):
        self._classifier = classifier

    async def check(self, draft):
        try:
            await self._classifier.classify([draft.call.input["question"]])
        except ModelError as error:
            return refuse(Reason.UNSAFE_INPUT, str(error))
        return ALLOW
"""
}
ASKED = 16 + 100  # tokens of a question of a hundred letters


def counted(app) -> dict[str, int]:
    """What was taken of each counter of money."""
    app._limiting.purse.close()
    return {name.rpartition("|")[0]: taken for name, taken in app._counters.all() if "|usd|" in name}


async def test_a_classifier_that_costs_is_on_the_record_and_on_the_bill(opened):
    """Its price is taken from the call's account, and the record's cost is what the counter says."""
    app = opened(WATCHED % 'price = "2 USD"', FEATURE % 'feature_per_day = "1 USD"', WATCHING)
    answer = await app.run("answers", question="x" * 100)
    record = await app.record(answer.id)
    assert answer.status == "answered"
    first = record.outcome.attempts[0]
    assert (first.rung, first.model, first.cost_nano_usd, first.estimated) == ("classifier", "watcher", ASKED * 2000, True)
    assert record.outcome.cost_nano_usd == ASKED * 2000 + 55 * 1000
    assert list(counted(app).values()) == [record.outcome.cost_nano_usd]


async def test_a_classifier_that_would_pass_a_limit_is_not_asked(opened):
    """What is left of the call's own limit does not do for the classifier: it is not asked, and its guard fails closed."""
    app = opened(WATCHED % 'price = "2 USD"', FEATURE % 'per_call = "0.0001 USD"', WATCHING)
    answer = await app.run("answers", question="x" * 100)
    assert (answer.status, answer.reason) == ("refused", "unsafe_input")
    watcher = app.features.project.lent["classifier"]["watcher"]
    assert watcher.asked == 0
    assert [a.outcome for a in (await app.record(answer.id)).outcome.attempts] == ["over_budget"]


async def test_a_classifier_with_a_key_and_no_price_is_not_asked_where_money_is_limited(opened, project):
    """Unknown is never nothing: with a limit of the project it is an error at load, with one of a feature it is not asked."""
    keyed = 'key = "env:WATCHER_KEY"'
    app = opened(WATCHED % keyed, FEATURE % 'feature_per_day = "1 USD"', WATCHING, environ={"WATCHER_KEY": "no-real-key"})
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.reason) == ("refused", "unsafe_input")
    assert app.features.project.lent["classifier"]["watcher"].asked == 0
    capped = WATCHED % keyed + '\n    [limits]\n    project_per_day = "1 USD"\n'
    with pytest.raises(ConfigError, match="watcher"):
        opened(capped, FEATURE % "", WATCHING, environ={"WATCHER_KEY": "no-real-key"})


async def test_without_limits_nothing_changes(opened):
    """A classifier without a price costs nothing on the record, and is asked as ever."""
    app = opened(WATCHED % "", FEATURE % "", WATCHING)
    answer = await app.run("answers", question="?")
    record = await app.record(answer.id)
    assert answer.status == "answered" and [a.rung for a in record.outcome.attempts] == ["small"]


JUDGED = feature("""
    [guards]
    output = [{ "judging:Judged" = {} }]

    [limits]
    %s
""")
JUDGE = {
    "features/judge/feature.toml": """
        summary = "Judges"
        deadline = "5s"
        [[ladder]]
        model = "small"
        prompt = "prompt.md"
        [[ladder]]
        message = "no money"
    """,
    "features/judge/prompt.md": "{{ question }}\n",
    "judging.py": """
from mainstay.core.draft import ALLOW

class Judged:
    hold = 0

    async def check(self, draft):
        if draft.ask is not None and draft.complete and draft.call.feature == "answers":
            said = await draft.ask("judge", {"question": draft.text})
            assert said.rung
        return ALLOW
""",
}
COST = 55 * 1000  # of one attempt


async def test_a_judge_spends_from_the_account_of_the_call_that_asks_it(opened):
    """Both calls are on the bill of the feature that was called; the judge is counted as no call of its own."""
    app = opened(WATCHED % "", JUDGED % 'feature_per_day = ["1 USD", 100]', {**JUDGE, **WATCHING})
    assert (await app.run("answers", question="?")).status == "answered"
    records = await app.records()
    assert sorted(r.begun.call.feature for r in records) == ["answers", "judge"]
    app._limiting.purse.close()
    found = {name.split("|")[1]: taken for name, taken in app._counters.all()}
    assert found == {"usd": 2 * COST, "calls": 1}


async def test_a_judge_is_bound_by_what_is_left_of_the_calls_own_limit(opened):
    """`per_call` bounds the call with everything that is asked for it: what is left does not do for the judge."""
    app = opened(WATCHED % "", JUDGED % 'per_call = "0.00012 USD"', {**JUDGE, **WATCHING})  # 120 tokens: once 91, then 55 and 94
    assert (await app.run("answers", question="?")).rung == "small"
    (judged,) = await app.records(feature="judge")
    assert (judged.outcome.answer.rung, judged.outcome.answer.reason) == ("message", "over_budget")


async def test_many_calls_at_once_are_each_charged_to_their_own(opened):
    """Calls that run at the same moment do not pay for each other's classifiers."""
    app = opened(WATCHED % 'price = "2 USD"', FEATURE % 'tenant_per_day = "1 USD"', WATCHING)
    await asyncio.gather(*[app.run("answers", question="x" * 100, tenant=f"t{n % 3}") for n in range(30)])
    assert set(counted(app).values()) == {10 * (ASKED * 2000 + COST)}


def test_the_suite_for_counters_is_public():
    """Whoever writes counters of his own finds the suite beside the others."""
    assert callable(testing.check_counters)
