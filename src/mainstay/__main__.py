"""Where the command `mainstay` begins, and `python -m mainstay`, which is the same."""

import os
import signal


def main() -> None:
    """Run the command line. Until a command runs, which sees to Ctrl-C itself, it ends the process: no word, exit code 130."""
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
    from mainstay.doors.cli.main import main as command  # here, because this is what takes its time

    command(prog_name="mainstay", obj=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))


if __name__ == "__main__":
    main()
