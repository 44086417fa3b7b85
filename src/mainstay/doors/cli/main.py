"""`mainstay`: one command, its sub-commands each in a file."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

from mainstay.assembling import VERSION
from mainstay.doors.cli.audit import audit
from mainstay.doors.cli.caching import cache, precompute
from mainstay.doors.cli.check import check
from mainstay.doors.cli.classify import classify
from mainstay.doors.cli.confidence import confidence
from mainstay.doors.cli.doctor import doctor
from mainstay.doors.cli.drill import drill
from mainstay.doors.cli.eval import eval
from mainstay.doors.cli.index import index
from mainstay.doors.cli.init import init
from mainstay.doors.cli.keys import keys
from mainstay.doors.cli.learn import learn
from mainstay.doors.cli.limits import limits
from mainstay.doors.cli.near import near
from mainstay.doors.cli.recheck import recheck
from mainstay.doors.cli.records import records
from mainstay.doors.cli.release import off, on, release, rollback
from mainstay.doors.cli.report import report
from mainstay.doors.cli.route import router
from mainstay.doors.cli.run import run
from mainstay.doors.cli.serve import demo, serve
from mainstay.doors.cli.stress import stress


class Quiet(click.Group):
    """Commands that Ctrl-C ends without a word. `obj` is called first: the process has to see to Ctrl-C until there."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            if ctx.obj is not None:
                ctx.obj()
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(130)


@click.group(cls=Quiet, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="mainstay")
def main() -> None:
    """The product layer around a generative model: features that always answer."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for library in ("asyncio", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)


COMMANDS = (
    *(init, demo, serve, index, run, eval, release, rollback, off, on, report, check, drill, stress, recheck, learn),
    *(cache, precompute, records, limits, keys, audit, doctor),
)
for command in COMMANDS:
    main.add_command(command)
learn.add_command(classify)
learn.add_command(confidence)
learn.add_command(router)
learn.add_command(near)
