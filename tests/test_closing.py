"""The end of an application."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

import mainstay
from mainstay.core.errors import StoreError


def test_closing_twice_is_harmless(project, tmp_path):
    """A `with` block around an application that was closed inside it must not close files that are somebody else's by now."""
    with mainstay.open(project(), environ={}, dev=True) as app:
        app.run_sync("answers", question="?")
        app.close_sync()
        others = [os.open(tmp_path, os.O_RDONLY) for _ in range(20)]  # they get the numbers of the files just closed
    for file in others:
        os.close(file)


@pytest.mark.parametrize("before", [True, False])
def test_after_the_close_run_sync_says_so(project, before: bool):
    """Whoever kept an application over its end gets our error, not the event loop's, and no thread is left behind."""
    app = mainstay.open(project(), environ={}, dev=True)
    if before:
        app.run_sync("answers", question="?")
    app.close_sync()
    with pytest.raises(StoreError, match="closed") as told:
        app.run_sync("answers", question="?")
    assert told.value.next
    assert [thread.name for thread in threading.enumerate() if thread.name == "mainstay-sync"] == []


def is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12 and later warn of a fork beside threads
def test_a_child_that_is_forked_after_the_close_keeps_its_files(project, tmp_path: Path):
    """Servers that fork their workers open a project to look at it and close it first: in the worker, the files that have the
    numbers of the project's own by now stay open."""
    app = mainstay.open(project(), environ={}, dev=True)
    app.run_sync("answers", question="?")
    app.close_sync()
    others = [os.open(tmp_path, os.O_RDONLY) for _ in range(20)]
    child = os.fork()
    if child == 0:
        os._exit(sum(1 for file in others if not is_open(file)))
    end = time.monotonic() + 60
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.01)
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    for file in others:
        os.close(file)
    assert os.waitstatus_to_exitcode(ended[1]) == 0, "that many files were closed"
