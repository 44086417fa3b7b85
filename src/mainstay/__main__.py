"""`python -m mainstay` is `mainstay`."""

from mainstay.doors.cli.main import main

main(prog_name="mainstay")
