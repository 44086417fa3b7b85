"""The last step of every request: its bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from mainstay.core.errors import Unsupported

_encode = msgspec.json.Encoder().encode


def encoded(body: dict[str, Any]) -> bytes:
    """The body as JSON. Raises `Unsupported` for a text that cannot be sent, because it holds half of a character."""
    try:
        return _encode(body)
    except UnicodeEncodeError:
        raise Unsupported("a text with half of a surrogate pair") from None
