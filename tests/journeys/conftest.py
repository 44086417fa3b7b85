"""Fixtures of the journeys: the real server, in this process or in one of its own, as the HTTP door's tests have it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "doors"))  # where `serving` is
sys.path.insert(0, str(Path(__file__).parents[1] / "learn"))  # where `releasing` is

from serving import served, spawned, upstream

__all__ = ["served", "spawned", "upstream"]
