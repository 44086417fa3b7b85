"""Fixtures of the journeys: the real server, in this process or in one of its own, as the HTTP door's tests have it."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("doors", "learn")]  # of `serving` and `releasing`

from serving import served, spawned, upstream

__all__ = ["served", "spawned", "upstream"]
