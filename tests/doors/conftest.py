"""Fixtures of the HTTP door's tests: the real server, in this process or in one of its own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "learn"))  # where `releasing` is

from serving import served, spawned, upstream

__all__ = ["served", "spawned", "upstream"]
