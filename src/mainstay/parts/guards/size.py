"""`size`: texts that are empty, too long, or hold control characters get a clear answer instead of a crash further down.

Options: `max`, the characters of one text (8,000); `total`, of all texts of a call with its history (100,000). Limits: it
counts characters, not tokens, and knows nothing of what they say.
"""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta, Struct

from mainstay.core.draft import ALLOW, Draft, Verdict, refuse
from mainstay.core.reasons import Reason

# C0 controls but tab and line ends, DEL, C1, lone surrogates, and the non-characters.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


class Size(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The guard; made with its options."""

    max: Annotated[int, Meta(ge=1, description="The most characters of one text.")] = 8_000
    total: Annotated[int, Meta(ge=1, description="The most characters of all texts of a call.")] = 100_000

    @property
    def hold(self) -> int:
        return 0

    async def check(self, draft: Draft) -> Verdict:
        """Refuse an input that cannot be read. On output, refuse a text that is too long."""
        if draft.stage == "output":
            if len(draft.text) > self.max:
                return refuse(Reason.UNSAFE_OUTPUT, f"the answer has {len(draft.text)} characters; at most {self.max}")
            return ALLOW
        total, spoken, first = 0, False, ""
        for path, text in draft.call.texts():
            total += len(text)
            if len(text) > self.max:
                return refuse(Reason.INPUT_INVALID, f"{path} has {len(text)} characters; at most {self.max}")
            first = first or path
            found = None if text.isprintable() else _control(text)
            if found is not None:
                return refuse(
                    Reason.INPUT_INVALID, f"{path} holds the control character U+{ord(found[0]):04X} at {found.start()}"
                )
            said = text if draft.call.request is not None else text.strip()
            spoken = spoken or (bool(said) and not path.startswith("history"))
        if total > self.total:
            return refuse(Reason.INPUT_INVALID, f"all texts together have {total} characters; at most {self.total}")
        if not spoken and _says_nothing(draft):
            return refuse(Reason.INPUT_INVALID, f"{first} is empty" if draft.call.request is None else "messages hold no text")
        return ALLOW


def _control(text: str) -> re.Match[str] | None:
    """The first control character. Printable text, line ends apart, has none: that is quicker to see."""
    if text.replace("\n", "").isprintable():
        return None
    return _CONTROL.search(text)


def _says_nothing(draft: Draft) -> bool:
    """Whether a call without words brings nothing else either: no image, number or tool call."""
    call = draft.call
    if call.request is not None:
        return all(isinstance(m.content, str) and not m.tool_calls for m in call.request.messages)
    return bool(call.input) and all(isinstance(value, str) for value in call.input.values())
