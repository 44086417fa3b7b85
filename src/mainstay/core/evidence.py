"""What an answer may rest on: passages found in sources."""

from __future__ import annotations

from msgspec import Struct


class Passage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of a source.

    `heading` is the path of headings above it, outermost first. `version` is a hash of the source's text as it was
    indexed. `start` and `end` are character offsets in the document `document`. `score` is between 0 and 1: how much
    of what was asked this passage covers; it compares passages of one search, not of two.
    """

    id: str
    source: str
    document: str
    text: str
    heading: tuple[str, ...] = ()
    link: str | None = None
    version: str = ""
    start: int = 0
    end: int = 0
    score: float = 0.0


class Evidence(Struct, frozen=True, kw_only=True):
    """All that was found for one call. `searched` tells "nothing was found" from "nothing was looked for"."""

    passages: tuple[Passage, ...] = ()
    searched: bool = False

    def by_id(self, passage_id: str) -> Passage | None:
        """The passage with that id, if it was found for this call."""
        return next((p for p in self.passages if p.id == passage_id), None)


NOTHING = Evidence()
