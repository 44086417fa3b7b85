"""`pytest --mainstay [FEATURE …]`: each case of a feature is a test.

pytest imports this file in every run of everybody who has Mainstay installed, so it imports nothing until it is asked to.
"""

from __future__ import annotations

import pytest

HELP = "Run the cases of these features as tests, or of all of them. Without a path nothing else is collected."


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option."""
    group = parser.getgroup("mainstay", "cases of Mainstay's features")
    group.addoption("--mainstay", nargs="*", action="extend", metavar="FEATURE", help=HELP)


def pytest_configure(config: pytest.Config) -> None:
    """Take the door in, if it is asked for."""
    given = config.getoption("mainstay")
    if given is not None:
        from mainstay.doors.cases import Cases

        config.pluginmanager.register(Cases(config, given), "mainstay-cases")
