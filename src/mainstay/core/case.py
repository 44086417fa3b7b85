"""A call and what we expect of it: what a feature is evaluated on, one JSON object a line in `cases/*.jsonl`."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from mainstay.core.call import Turn
from mainstay.core.evidence import Passage, Slot

NOT = "not-"  # before a scorer's name: the answer has to be one that this scorer does not accept


class Case(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A call and what we expect of it.

    `expect` names scorers, each with what it compares with: `{"contains": ["30 days"], "not-contains": ["60 days"]}`; a scorer
    that compares with nothing gets `true`. `passages` takes the place of what the sources would find. A case without an `id` is
    called after the hash of its call.
    """

    input: Annotated[dict[str, Any], Meta(description="The fields that the feature declares.")]
    expect: Annotated[dict[str, Any], Meta(description="Scorers by name, each with what it compares the answer with.")] = {}
    id: Annotated[str, Meta(description="What reports call this case.")] = ""
    category: Annotated[str, Meta(description="The slice of the feature's work that this case belongs to.")] = ""
    language: Annotated[str, Meta(description="The language of the input, such as `en`.")] = ""
    tags: Annotated[dict[str, str], Meta(description="Further slices: names and values of your own.")] = {}
    must: Annotated[bool, Meta(description="No release in which this case fails goes live.")] = False
    history: Annotated[tuple[Turn, ...], Meta(description="Earlier turns, oldest first.")] = ()
    locale: Annotated[str | None, Meta(description="The language and place of the user, such as `de-CH`.")] = None
    tenant: Annotated[str | None, Meta(description="For whom it is asked, where sources show tenants different things.")] = None
    roles: Annotated[tuple[str, ...], Meta(description="What the user may see, as sources name it.")] = ()
    slots: Annotated[tuple[Slot, ...] | None, Meta(description="The facts, in place of what would be fetched.")] = None
    passages: Annotated[tuple[Passage, ...] | None, Meta(description="The evidence, in place of what the sources find.")] = None
    notes: Annotated[str, Meta(description="Why this case is here.")] = ""
    source: Annotated[str, Meta(description="Where it came from: `record:…`, `stress:typos`, `promptfoo:tests.yaml`.")] = ""

    def slice(self, name: str) -> str:
        """The value of a tag, `category` and `language` among them; empty where the case has none."""
        if name == "category":
            return self.category
        return self.language if name == "language" else self.tags.get(name, "")

    def fingerprint(self) -> str:
        """A hash of the call that this case makes: the same as long as the model would be asked the same."""
        asked: tuple[Any, ...] = (self.input, self.history, self.locale, self.passages)
        if self.tenant or self.roles or self.slots is not None:
            asked = (*asked, self.tenant, self.roles, self.slots)
        return hashlib.blake2b(msgspec.json.encode(asked, order="deterministic"), digest_size=12).hexdigest()


def named(cases: list[Case]) -> list[Case]:
    """The same cases, each with an id. Those that bring one keep it; of equal calls the later ones are numbered."""
    taken: dict[str, int] = {}
    found = []
    for case in cases:
        id = case.id or case.fingerprint()[:10]
        taken[id] = taken.get(id, 0) + 1
        found.append(msgspec.structs.replace(case, id=id if taken[id] == 1 else f"{id}~{taken[id]}"))
    return found
