"""The options that several commands have."""

from __future__ import annotations

import click

PROJECT = click.option("-C", "--project", default=".", type=click.Path(file_okay=False), help="The project's folder.")
STATE = click.option("--state", type=click.Path(file_okay=False), help="The folder of the releases, if not the project's.")
WHY = click.option("--why", default="", help="What the audit says about it.")
