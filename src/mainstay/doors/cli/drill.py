"""`mainstay drill`: what a user sees under every fault."""

from __future__ import annotations

import click

from mainstay.doors.cli.printing import reported
from mainstay.doors.cli.serve import PROJECT


@click.command()
@click.argument("feature")
@PROJECT
@reported
def drill(feature: str, project: str) -> None:
    """Run a feature against every fault, through the real adapters, with a faulty server in place of its providers."""
    raise NotImplementedError
