"""What an answer may rest on: passages found in sources, and facts fetched from systems of record."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Literal

from msgspec import Struct

SlotType = Literal["text", "money", "number", "date", "code", "name", "boolean"]


class Viewer(Struct, frozen=True, kw_only=True):
    """For whom something is looked up: only what this tenant, in one of these roles, may see is found."""

    tenant: str = "default"
    roles: tuple[str, ...] = ()

    def among(self, tenants: Collection[str], roles: Collection[str]) -> bool:
        """Whether this is one of those who may see something; none named means all."""
        return (not tenants or self.tenant in tenants) and (not roles or not set(roles).isdisjoint(self.roles))


class Curated(Struct, frozen=True, kw_only=True):
    """Somebody answers for this content: `approver`, until the day `review` (ISO 8601), when it has to be looked at again."""

    approver: str
    review: str

    def overdue(self, today: str) -> bool:
        """Whether the review should have happened; `today` is an ISO 8601 date."""
        return self.review < today


class Passage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of a source.

    `heading` is the path of headings above it, outermost first. `version` is a hash of the document's text as it was
    indexed. `start` and `end` are character offsets in the text of the document `document`. `score` is between 0 and 1: how much
    of what was asked this passage covers; it compares passages of one search, not of two. `curated` says who answers for it.
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
    curated: Curated | None = None

    @property
    def digest(self) -> str:
        """A hash of its text: whether it still says the same."""
        return hashlib.blake2b(self.text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class Slot(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A typed fact, fetched at query time from a system of record.

    `value` is what was fetched, as text; `type` says how it is compared with what an answer says, `unit` is its currency or unit
    where it has one. `at` is when it was fetched (seconds since 1970), `stale` says that it is older than it should be. `asked`
    are the parameters that it was fetched with. A slot that could not be had has no `value` and says why in `missing`.
    """

    name: str
    type: SlotType
    value: str | None = None
    unit: str = ""
    at: float = 0.0
    stale: bool = False
    asked: dict[str, str] = {}
    missing: str = ""


class Evidence(Struct, frozen=True, kw_only=True):
    """All that was found for one call. `searched` tells "nothing was found" from "nothing was looked for"."""

    passages: tuple[Passage, ...] = ()
    slots: tuple[Slot, ...] = ()
    searched: bool = False

    def by_id(self, passage_id: str) -> Passage | None:
        """The passage with that id, if it was found for this call."""
        return next((p for p in self.passages if p.id == passage_id), None)


class Support(Struct, frozen=True, kw_only=True):
    """How far evidence bears a sentence: `score` is the probability, calibrated, that it does, and `passage` the place among the
    passages of the one that bears it best; None where no passage does. `at` is a place in that passage's text, in the sentence
    that bears most of it; None where that cannot be told.
    """

    score: float
    passage: int | None = None
    at: int | None = None


NOTHING = Evidence()


class Lag(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A source whose index is not what the source holds; with `mended` it was brought up to date when the project was opened.

    `trouble` says why it cannot be told. `overdue` are documents whose review should have happened.
    """

    source: str
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    overdue: tuple[str, ...] = ()
    mended: bool = False
    trouble: str = ""
