"""A guard with typed options."""

import msgspec

from mainstay.core.draft import ALLOW, Draft, Verdict, retry
from mainstay.core.reasons import Reason
from mainstay.core.seams import Hold


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the guard takes."""

    words: tuple[str, ...]
    strict: bool = False


class NoPromises:
    """Asks again when an answer promises a date."""

    options = Options
    hold = Hold.SENTENCE

    def __init__(self, *, words: tuple[str, ...], strict: bool) -> None:
        self._words = words if strict else [word.casefold() for word in words]
        self._strict = strict

    async def check(self, draft: Draft) -> Verdict:
        text = draft.text if self._strict else draft.text.casefold()
        found = next((word for word in self._words if word in text), None)
        return ALLOW if draft.stage == "input" or found is None else retry(Reason.UNSAFE_OUTPUT, f"do not write {found!r}")
