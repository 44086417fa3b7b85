"""Fixtures of the HTTP door's tests: the real server, in this process or in one of its own."""

from serving import served, spawned, upstream

__all__ = ["served", "spawned", "upstream"]
