"""`mainstay`: one command, its sub-commands each in a file."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from typing import Any

import click

# Each with the file that it is in, in the order in which `mainstay --help` lists them.
COMMANDS = {
    "init": "init",
    "demo": "serve",
    "serve": "serve",
    "index": "index",
    "run": "run",
    "eval": "eval",
    "release": "release",
    "rollback": "release",
    "off": "release",
    "on": "release",
    "report": "report",
    "check": "check",
    "drill": "drill",
    "stress": "stress",
    "recheck": "recheck",
    "learn": "learn",
    "cache": "caching",
    "precompute": "caching",
    "records": "records",
    "limits": "limits",
    "keys": "keys",
    "audit": "audit",
    "doctor": "doctor",
}


class Commands(click.Group):
    """The commands, each imported when it is asked for. Ctrl-C ends one without a word. `obj` is called when it is imported:
    the process has to see to Ctrl-C until there.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"mainstay.doors.cli.{COMMANDS[cmd_name]}"), cmd_name)
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        found = super().resolve_command(ctx, args)
        if ctx.obj is not None:
            ctx.obj()
        return found

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mainstay", prog_name="mainstay")
def main() -> None:
    """The product layer around a generative model: features that always answer."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for library in ("asyncio", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)
