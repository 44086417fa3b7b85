"""An application whose process goes to another folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mainstay
from mainstay.at_rest import history


def test_a_process_may_leave_the_projects_folder(project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A daemon that opened `.` and then went to `/` keeps its records together, writes nothing there, and can still reload."""
    root, elsewhere = project(), tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(root)
    with mainstay.open(".", environ={}, dev=True) as app:
        app.run_sync("answers", question="before")
        os.chdir(elsewhere)
        app.run_sync("answers", question="after")
        app.reload()
        app.run_sync("answers", question="reloaded")
    assert list(elsewhere.iterdir()) == []
    ledger = history(root)
    try:
        assert len(ledger.records(where={}, limit=10)) == 3
    finally:
        ledger.close()
