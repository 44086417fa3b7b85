"""The end of an application."""

from __future__ import annotations

import os

import mainstay


def test_closing_twice_is_harmless(project, tmp_path):
    """A `with` block around an application that was closed inside it must not close files that are somebody else's by now."""
    with mainstay.open(project(), environ={}) as app:
        app.run_sync("answers", question="?")
        app.close_sync()
        others = [os.open(tmp_path, os.O_RDONLY) for _ in range(20)]  # they get the numbers of the files just closed
    for file in others:
        os.close(file)
