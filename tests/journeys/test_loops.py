"""One application, several event loops and threads: `run_sync` from many threads beside `run`, and a fork."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import importlib
import multiprocessing
import threading
import time

import pytest

import mainstay
from mainstay.at_rest import history
from mainstay.ids import new_id
from projects import feature

CACHED = feature("""
    [cache]
    keep = "1h"
""")
SLOW = '[models.small]\nprovider = "scripted"\noptions = { delay = "300ms" }\n'


async def test_the_same_question_from_two_event_loops_is_asked_once_in_each(opened):
    """Single flight joins no call of another event loop: nobody waits on a loop that is not its own, and all are answered."""
    app = opened(SLOW, CACHED)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)  # says so when a loop is touched from a thread that is not its own
    threads = [asyncio.to_thread(app.run_sync, "answers", question="?") for _ in range(4)]
    answers = await asyncio.wait_for(asyncio.gather(*[app.run("answers", question="?") for _ in range(4)], *threads), 20)
    assert {(a.status, a.text) for a in answers} == {("answered", "?")}
    assert len({a.id for a in answers}) == 8
    records = await app.records(limit=100)
    paid = [r for r in records if r.outcome.attempts]
    assert (len(records), len(paid)) == (8, 2)
    assert len(app.features.ready["answers"].rungs[0].models[0].provider.requests) == 2


async def test_a_reader_that_leaves_one_loop_takes_no_other_with_it(opened):
    """The production of one event loop is given up while the same question is asked in another: that one is answered."""
    app = opened(SLOW, CACHED)
    other = asyncio.create_task(asyncio.to_thread(app.run_sync, "answers", question="?"))
    leaving = asyncio.create_task(app.run("answers", question="?"))
    await asyncio.sleep(0.1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (await asyncio.wait_for(other, 10)).status == "answered"
    left = await app.records(status="interrupted")
    assert [r.outcome.answer.reason for r in left] == ["reader_left"]


def test_ids_are_unique_over_threads():
    """Eight threads that ask for ids at once get each of them once, and none of them an error."""
    found: list[list[str]] = [[] for _ in range(8)]
    errors: list[BaseException] = []

    def take(into: list[str]) -> None:
        try:
            into += [new_id() for _ in range(20_000)]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=contextvars.copy_context().run, args=(take, into)) for into in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len({id for ids in found for id in ids}) == 160_000


def _forked(app: mainstay.Mainstay, told: multiprocessing.Queue) -> None:
    """What the child of a fork gets when it asks, without and with an event loop of its own, and its next ids."""
    ids = [new_id()[12:] for _ in range(20)]
    said = [app.trouble()]
    for ask in (lambda: app.run_sync("answers", question="?"), lambda: asyncio.run(app.run("answers", question="?"))):
        try:
            said.append(str(ask().status))
        except mainstay.MainstayError as error:
            said.append(f"{error.what} {error.next}")
    told.put((ids, said))
    told.close()
    told.join_thread()


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # Python 3.12 and later warn of a fork beside threads; that is the case here
def test_a_child_that_was_forked_is_told_so_at_once(project):
    """A fork after `open` cannot keep records: the child is told what to do, nothing hangs, and its ids are its own."""
    with mainstay.open(project(), environ={}, dev=True) as app:
        assert app.run_sync("answers", question="?").status == "answered"
        context = multiprocessing.get_context("fork")
        told: multiprocessing.Queue = context.Queue()
        child = context.Process(target=_forked, args=(app, told))
        child.start()
        try:
            ids, said = told.get(timeout=60)
            child.join(60)
        finally:
            child.kill()
        assert child.exitcode == 0
        assert all("open the project after the fork" in what for what in said), said
        assert not set(ids) & {new_id()[12:] for _ in range(20)}
        assert app.run_sync("answers", question="again").status == "answered"


@pytest.mark.parametrize("delay", ["400ms", "60s"])
def test_closing_ends_what_other_threads_wait_for(project, delay):
    """The application is closed while a thread waits in `run_sync`: that thread comes back, and its call is on record."""
    root = project(SLOW.replace("300ms", delay), CACHED.replace('"5s"', '"90s"'))
    came: list[object] = []
    app = mainstay.open(root, environ={}, dev=True)

    def ask() -> None:
        try:
            came.append(app.run_sync("answers", question="?"))
        except BaseException as error:
            came.append(error)

    waiting = threading.Thread(target=ask, daemon=True)
    waiting.start()
    while not app.features.ready["answers"].rungs[0].models[0].provider.requests:
        time.sleep(0.01)
    app.close_sync()
    waiting.join(10)
    assert not waiting.is_alive()
    assert isinstance(came[0], concurrent.futures.CancelledError)
    ledger = history(root)
    (record,) = ledger.records(where={}, limit=10)
    ledger.close()
    assert record.outcome.answer.reason == "reader_left"


CALLING = """
    APP = None

    async def reply(question):
        return APP.run_sync("inner", question=question).text
"""


def test_run_sync_within_its_own_event_loop_is_an_error_and_no_standstill(project):
    """A rung's async function that calls `run_sync` would wait for the loop that it holds up: it is told so at once."""
    inner = 'summary = "Inner"\n[[ladder]]\nmessage = "Inner."\n'
    calling = CACHED.replace('model = "small"\nprompt = "prompt.md"', 'call = "calling_back:reply"')
    files = {"features/inner/feature.toml": inner, "calling_back.py": CALLING}
    with mainstay.open(project(SLOW, calling, files), environ={}, dev=True) as app:
        module = importlib.import_module("calling_back")
        module.APP = app
        answer = app.run_sync("answers", question="?")
        assert (answer.status, answer.reason) == ("degraded", "rung_failed")
        record = asyncio.run(app.record(answer.id))
        assert "await app.run" in record.outcome.attempts[0].detail
