"""`/v1/sources/{source}/passages/{id}`: a passage at its place in its document, which is what a citation's link opens.

JSON, or a page for the browser that asks for one. Everything on the page is somebody's text: the template escapes it, and a
content security policy admits the page's one style and nothing else. A passage that the viewer may not see is answered like one
that is not there.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import minijinja
import msgspec
from msgspec import Struct

from mainstay.app import Mainstay
from mainstay.core.answer import Answer, Citation, Cited, Event
from mainstay.core.call import Call
from mainstay.core.errors import MainstayError, StoreError, nearest
from mainstay.core.evidence import Passage, Viewer
from mainstay.doors.http import keys
from mainstay.doors.http.wire import JSON, Headers, HttpError, Request

AROUND = 4  # passages of the document that are shown before it, and behind
SAFE: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"accept"),
]
_encode = msgspec.json.Encoder(enc_hook=str).encode


class ShownPassage(Struct, frozen=True, kw_only=True):
    """A passage as its source holds it now, and what stands before and behind it in its document, as far as the viewer may see
    it. `above` and `below` count the passages of the document that are further away."""

    passage: Passage
    before: tuple[Passage, ...] = ()
    after: tuple[Passage, ...] = ()
    above: int = 0
    below: int = 0


async def read_passage(app: Mainstay, request: Request, source: str, id: str) -> None:
    """`GET /v1/sources/{source}/passages/{id}?tenant=…&roles=…`"""
    viewer = _viewer(request)
    sources = app.features.project.sources
    if source not in sources:
        raise HttpError(404, f'there is no source "{source}"; {nearest(source, sources)}', code="unknown_source")
    show = getattr(sources[source], "passage", None)
    try:
        found: Passage | None = None if show is None else await show(id, viewer=viewer)
        shown = None if found is None else await _at_its_place(sources[source], found, viewer)
    except StoreError:
        raise
    except MainstayError as error:
        raise HttpError(503, f"the source cannot be asked now: {error.what}", code="source_unavailable", final=False) from None
    if shown is None:
        why = "the source cannot show its passages again" if show is None else f'there is no passage "{id}" in it any more'
        raise HttpError(404, f"{why} for this viewer", code="unknown_passage")
    if _wants_page(request):
        style, page = _style(), _page(shown, link_to(request, viewer))
        policy = f"default-src 'none'; style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-security-policy", policy.encode()), *SAFE]
        await request.respond(200, page.encode("utf-8", "replace"), headers)
    else:
        await request.respond(200, _encode(shown), [JSON, *SAFE])


async def _at_its_place(source: Any, found: Passage, viewer: Viewer) -> ShownPassage:
    """The passage between its neighbours, where the source can show the document."""
    opens = getattr(source, "document", None)
    whole: Sequence[Passage] = [] if opens is None else await opens(found.document, viewer=viewer)
    at = next((i for i, passage in enumerate(whole) if passage.id == found.id), None)
    if at is None:
        return ShownPassage(passage=found)
    first, last = max(0, at - AROUND), at + 1 + AROUND
    return ShownPassage(
        passage=found,
        before=tuple(whole[first:at]),
        after=tuple(whole[at + 1 : last]),
        above=first,
        below=max(0, len(whole) - last),
    )


def _viewer(request: Request) -> Viewer:
    """For whom it is looked up, as the body of a call would say it. Raises `HttpError` 400."""
    try:
        asked = parse_qs(
            request.scope.get("query_string", b"").decode(), keep_blank_values=True, max_num_fields=100, errors="strict"
        )
    except ValueError:
        raise HttpError(
            400, "the query is not readable; send for example ?tenant=acme&roles=staff", code="invalid_request"
        ) from None
    for name in asked:
        if name not in ("tenant", "roles"):
            raise HttpError(400, f"unknown parameter `{name}`; known: tenant, roles", code="invalid_request", param=name)
    for name, values in asked.items():
        if not all(0 < len(value) <= 200 for value in values) or (name == "tenant" and len(values) > 1):
            what = "one name" if name == "tenant" else "names"
            raise HttpError(400, f"`{name}` takes {what} of at most 200 characters", code="invalid_request", param=name)
    return Viewer(tenant=keys.tenant_of(request, asked.get("tenant", [None])[0]), roles=tuple(asked.get("roles", ())))


def _wants_page(request: Request) -> bool:
    accepted = request.headers.get(b"accept", b"").lower()
    return b"text/html" in accepted and b"application/json" not in accepted


# Links to it


def link_to(request: Request, viewer: Viewer) -> Callable[[str, str], str]:
    """What makes the path of a passage's page from its source and id, below the place where the door is mounted."""
    mount = str(request.scope.get("root_path", "")).rstrip("/")
    asked = [("tenant", viewer.tenant)] if viewer.tenant != "default" else []
    query = urlencode([*asked, *[("roles", role) for role in viewer.roles]])

    def path(source: str, id: str) -> str:
        place = f"{mount}/v1/sources/{quote(source, safe='')}/passages/{quote(id, safe='')}"
        return f"{place}{'?' if query else ''}{query}#passage"

    return path


def linked(event: Event, request: Request, call: Call) -> Event:
    """The event with a link to the page of each cited passage whose source has none of its own."""
    if isinstance(event, Cited):
        (citation,) = _with_links((event.citation,), request, call)
        return event if citation is event.citation else Cited(citation)
    if isinstance(event, Answer) and event.citations:
        return msgspec.structs.replace(event, citations=_with_links(event.citations, request, call))
    return event


def _with_links(citations: tuple[Citation, ...], request: Request, call: Call) -> tuple[Citation, ...]:
    if all(citation.link is not None for citation in citations):
        return citations
    path = link_to(request, call.viewer)
    return tuple([c if c.link is not None else msgspec.structs.replace(c, link=path(c.source, c.passage)) for c in citations])


# The page


def _page(shown: ShownPassage, path: Callable[[str, str], str]) -> str:
    passage = shown.passage
    curated = passage.curated
    overdue = curated is not None and curated.overdue(datetime.datetime.now(datetime.UTC).date().isoformat())
    blocks = [*shown.before, passage, *shown.after]
    page = _environment().render_template(
        "passage.html",
        style=_style(),
        passage=_block(passage, None, path),
        blocks=[_block(block, before, path) for block, before in zip(blocks, [None, *blocks], strict=False)],
        link=passage.link if (passage.link or "").startswith(("https://", "http://")) else "",
        curated=None if curated is None else {"approver": curated.approver, "review": curated.review, "overdue": overdue},
        above=shown.above,
        below=shown.below,
    )
    return str(page)


def _block(passage: Passage, before: Passage | None, path: Callable[[str, str], str]) -> dict[str, Any]:
    """A passage as the template shows it. Only the headings that are new below the passage before it are said again."""
    above = () if before is None else before.heading
    same = next(
        (i for i, (a, b) in enumerate(zip(passage.heading, above, strict=False)) if a != b), min(len(above), len(passage.heading))
    )
    return {
        "id": passage.id,
        "source": passage.source,
        "document": passage.document,
        "heading": [_characters(name) for name in passage.heading],
        "new": [_characters(name) for name in passage.heading[same:]],
        "text": _characters(passage.text),
        "version": passage.version,
        "start": passage.start,
        "end": passage.end,
        "path": path(passage.source, passage.id),
    }


def _characters(text: str) -> str:
    """The same, with `?` for halves of characters (lone surrogates), which no page can hold."""
    return text.encode("utf-8", "replace").decode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _style() -> str:
    return _file("passage.css")


@cache
def _file(name: str) -> str:
    return (resources.files("mainstay.doors.http") / name).read_text(encoding="utf-8")


@cache
def _environment() -> minijinja.Environment:
    return minijinja.Environment(loader=_file, undefined_behavior="strict", trim_blocks=True, lstrip_blocks=True)
