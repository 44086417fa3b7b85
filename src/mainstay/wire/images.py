"""Images as input: what an address of an image says about how to send it on."""

from __future__ import annotations

import re
from typing import NamedTuple

from mainstay.core.errors import Unsupported

_DATA = re.compile(r"data:([a-zA-Z0-9.+-]+/[a-zA-Z0-9.+-]+)(?:;[a-zA-Z0-9=._-]+)*?;base64,", re.ASCII)


class Inline(NamedTuple):
    """An image that is carried in its address: `data` is base64, as it came."""

    media_type: str
    data: str


def inline(url: str, where: str) -> Inline | None:
    """The image in a `data:` URL; None for an address that the provider is to fetch. Raises `Unsupported` for anything else."""
    scheme = url[:8].partition(":")[0].lower()
    if scheme in ("http", "https"):
        return None
    if scheme != "data":
        raise Unsupported(f"an image at a `{scheme}:` address", where=where)
    head = _DATA.match(url)
    if head is None:
        raise Unsupported("an image in a `data:` URL that is not base64", where=where)
    media_type = head[1].lower()
    if not media_type.startswith("image/"):
        raise Unsupported(f"`{media_type}` as input", where=where)
    return Inline(media_type, url[head.end() :])
