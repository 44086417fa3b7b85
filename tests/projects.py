"""Small projects that several tests start from."""

from __future__ import annotations

import textwrap

PRICED = """
[models.small]
provider = "scripted"
max_output = 10
price = { input = "1 USD", output = "1 USD" }
options = { replies = ["well"], usage = { input = 50, output = 5 } }
"""
"""A model of which every call costs 55 millionths of a dollar."""


def feature(more: str = "", *, deadline: str = "5s") -> str:
    """A feature file that asks the model `small` and, where that fails, says sorry; with the tables that a test adds to it."""
    ladder = '[[ladder]]\nmodel = "small"\nprompt = "prompt.md"\n\n[[ladder]]\nmessage = "Sorry."\n'
    return f'summary = "Answers"\ndeadline = "{deadline}"\n\n{ladder}{textwrap.dedent(more)}'
