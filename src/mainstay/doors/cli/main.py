"""`mainstay`: one command, its sub-commands each in a file."""

from __future__ import annotations

import logging

import click

from mainstay.assembling import VERSION
from mainstay.doors.cli.doctor import doctor
from mainstay.doors.cli.drill import drill
from mainstay.doors.cli.init import init
from mainstay.doors.cli.records import records
from mainstay.doors.cli.run import run
from mainstay.doors.cli.serve import demo, serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="mainstay")
def main() -> None:
    """The product layer around a generative model: features that always answer."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for library in ("asyncio", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)


for command in (init, demo, serve, run, records, doctor, drill):
    main.add_command(command)
