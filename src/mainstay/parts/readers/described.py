"""A document that is described by names and values: a row of a query, an object of JSON, the front matter of a page."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from mainstay.core.errors import SourceError, nearest
from mainstay.core.evidence import Curated
from mainstay.core.seams import Raw
from mainstay.parts import media

TEXTS = {"text": media.TEXT, "markdown": media.MARKDOWN, "html": media.HTML}
AUDIENCE = ("tenant", "tenants", "role", "roles", "approver", "review")
NAMES = ("id", *TEXTS, "title", "link", *AUDIENCE)


class Audience(Struct, frozen=True, kw_only=True):
    """Who may see a document, and who answers for it."""

    tenants: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    curated: Curated | None = None


def audience(values: Mapping[str, Any]) -> Audience:
    """Who may see it. Raises `SourceError`: what is not understood here would be shown to everybody."""
    tenants, roles = (_names(values, one, many) for one, many in (("tenant", "tenants"), ("role", "roles")))
    approver, review = values.get("approver"), values.get("review")
    if approver in (None, "") and review in (None, ""):
        return Audience(tenants=tenants, roles=roles)
    if not isinstance(approver, str) or not approver.strip():
        raise SourceError("it has a `review` date and no `approver`", next="name who approved it")
    return Audience(tenants=tenants, roles=roles, curated=Curated(approver=approver.strip(), review=_date(review)))


def document(values: Mapping[str, Any], *, where: str, link: str | None) -> Raw:
    """The document that a row or an object describes; `link` is where it is without one of its own.

    Raises `SourceError` where it cannot be said which document it is.
    """
    for name in values:
        if name not in NAMES:
            raise SourceError(f"unknown column {name!r}; {nearest(str(name), NAMES)}", where=where, next="leave it out")
    id = values.get("id")
    if isinstance(id, bool) or not isinstance(id, str | int) or not str(id).strip():
        raise SourceError("a document needs an `id`, a text or a number", where=where, next="give each its own")
    texts = [name for name in TEXTS if values.get(name) is not None]
    link = values["link"] if isinstance(values.get("link"), str) and values["link"] else link
    try:
        seen = audience(values)
        if len(texts) > 1 or not any(name in values for name in TEXTS):
            raise SourceError(f"it needs one of {', '.join(TEXTS)}", next="give it one")
        text = values[texts[0]] if texts else ""
        if not isinstance(text, str):
            raise SourceError(f"its {texts[0]} is no text", next="make it one")
        title = values.get("title")
        if title is not None and not isinstance(title, str):
            raise SourceError("its title is no text", next="make it one")
    except SourceError as error:
        return Raw(id=str(id), link=link, fault=f"{error.what}; next: {error.next}")
    return Raw(
        id=str(id),
        data=text.encode("utf-8", "replace"),
        media=f"{TEXTS[texts[0]] if texts else media.TEXT}; charset=utf-8",
        title=title or "",
        link=link,
        tenants=seen.tenants,
        roles=seen.roles,
        curated=seen.curated,
    )


def _names(values: Mapping[str, Any], one: str, many: str) -> tuple[str, ...]:
    """The names in one or the other: a text, several between commas, or a list, also one that is written as JSON."""
    given = [values[name] for name in (one, many) if values.get(name) not in (None, "", [], ())]
    if not given:
        return ()
    if len(given) > 1:
        raise SourceError(f"it has both `{one}` and `{many}`", next=f"name all in `{many}`")
    found = given[0]
    if isinstance(found, str):
        if found.lstrip().startswith("["):
            try:
                found = json.loads(found)
            except ValueError:
                raise SourceError(f"its `{many}` are no list", next='write ["a", "b"]') from None
        else:
            found = found.split(",")
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) and name.strip() for name in found) or not found:
        raise SourceError(f"its `{many}` are no names", next='write ["a", "b"]')
    return tuple(name.strip() for name in found)


def _date(written: Any) -> str:
    if isinstance(written, datetime.datetime):
        written = written.date()
    try:
        return (written if isinstance(written, datetime.date) else datetime.date.fromisoformat(written)).isoformat()
    except (TypeError, ValueError):
        raise SourceError("its `review` is no day", next="write it like 2027-03-31") from None
