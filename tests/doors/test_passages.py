"""A source link opens the passage at its place: as JSON for a program, and as a page on which no document is markup."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from typing import Any

import pytest
from serving import Serve, events_of, scripted

from mainstay.core.errors import SourceError
from mainstay.core.evidence import Curated, Passage, Viewer

QUOTING = """
    summary = "Answers"
    [grounding]
    sources = ["help"]
    [[ladder]]
    search = "help"
    [[ladder]]
    message = "Sorry."
"""
HELP = '[sources.help]\npath = "help"\n'
RETURNS = """
    # Returns

    Everything about sending things back.

    ## How long do I have?

    A parcel can be returned within 30 days.

    ## Who pays?

    We pay for the label of every return parcel.
"""
EVIL = """
    # Evil &amp; <b>

    <script>alert(1)</script>

    A parcel <img src=x onerror=alert(2)> is "returned" & {{ 7 * 7 }} {% raw %} </article>.
"""
FILES = {"help/a b/returns.md": RETURNS, "help/evil.md": EVIL}
HOW_LONG = "/v1/sources/help/passages/a%20b%2Freturns.md%23how-long-do-i-have"
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class Rooms:
    """A source that shows each tenant and role its own, as an index does: `staff` sees what others do not."""

    version = "1"
    passages = (
        Passage(id="a", source="rooms", document="d", text="Open to all.", curated=Curated(approver="Ann", review="2020-01-31")),
        Passage(id="b", source="rooms", document="d", text="For staff of acme.", link="javascript:alert(1)"),
        Passage(id="c", source="rooms", document="d", text="Open again.", link="https://example.com/d#c"),
    )

    def __init__(self, *, name: str) -> None:
        pass

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        return []

    async def passage(self, id: str, *, viewer: Viewer) -> Passage | None:
        if id == "down":
            raise SourceError("the disk is gone")
        return next((p for p in await self.document("d", viewer=viewer) if p.id == id), None)

    async def document(self, id: str, *, viewer: Viewer | None) -> list[Passage]:
        staff = viewer is None or (viewer.tenant == "acme" and "staff" in viewer.roles)
        return [p for p in self.passages if id == "d" and (p.id != "b" or staff)]


class Mute:
    """A source that finds, and cannot show again."""

    version = "1"

    def __init__(self, *, name: str) -> None:
        pass

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        return []


ROOMS = f'{HELP}[sources.rooms]\nkind = "{__name__}:Rooms"\n[sources.mute]\nkind = "{__name__}:Mute"\n'


@pytest.fixture
async def helping(served: Serve) -> Any:
    return await served(scripted() + ROOMS, QUOTING, FILES)


async def test_a_citation_links_to_its_passage_and_the_link_opens_it(helping: Any) -> None:
    """A source without a `link` of its own: what the answer cites is one click away, on both deliveries and later."""
    whole = (await helping.ask("Within how many days can it be returned?")).json()
    link = whole["citations"][0]["link"]
    assert link == HOW_LONG + "#passage"
    streamed = await helping.ask("Within how many days can it be returned?", stream=True)
    events = events_of(streamed.text)
    assert next(data["citation"]["link"] for name, data in events if name == "citation") == link
    assert events[-1][1]["citations"][0]["link"] == link
    read = (await helping.http().get(f"/v1/answers/{whole['id']}")).json()
    assert read["citations"][0]["link"] == link
    shown = (await helping.http().get(link)).json()
    assert "within 30 days" in shown["passage"]["text"]
    assert [p["heading"][-1] for p in shown["before"]] == ["Returns"]
    assert [p["heading"][-1] for p in shown["after"]] == ["Who pays?"]


async def test_the_link_says_for_whom_it_was_cited(helping: Any) -> None:
    """A tenant's own passage is not found without its tenant, so a link that leaves it out opens nothing."""
    asked = await helping.ask("Within how many days can it be returned?", tenant="acme & co", roles=["staff", "editor"])
    link = asked.json()["citations"][0]["link"]
    assert link == HOW_LONG + "?tenant=acme+%26+co&roles=staff&roles=editor#passage"
    assert (await helping.http().get(link)).status_code == 200


async def test_a_link_of_the_source_stays(served: Serve) -> None:
    """A team that has a web site of its own wants its readers there."""
    server = await served(scripted() + HELP + 'link = "https://example.com/"\n', QUOTING, FILES)
    asked = await server.ask("Within how many days can it be returned?")
    assert asked.json()["citations"][0]["link"] == "https://example.com/a%20b/returns.md#how-long-do-i-have"


async def test_a_browser_gets_a_page_with_the_passage_marked(helping: Any) -> None:
    """A person sees the passage between its neighbours, with headings, version and place; a script gets JSON."""
    page = await helping.http().get(HOW_LONG, headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    marked = re.findall(r'<article id="passage"[^>]*>(.*?)</article>', page.text, re.DOTALL)
    assert marked == ["A parcel can be returned within 30 days."]
    assert page.text.index("sending things back") < page.text.index("within 30 days") < page.text.index("We pay for the label")
    assert "<h2" in page.text and "Who pays?" in page.text and "characters" in page.text
    for accept in ("application/json, text/html", "*/*", "application/json"):
        told = await helping.http().get(HOW_LONG, headers={"accept": accept})
        assert told.headers["content-type"] == "application/json", accept
    assert page.headers["vary"] == "accept"


async def test_nothing_in_a_document_is_markup_on_the_page(helping: Any) -> None:
    """Documents are often written by strangers: none of their text may run, load or change anything in a reader's browser."""
    found = await helping.http().get("/v1/sources/help/passages/evil.md%23evil-amp", headers=BROWSER)
    assert found.status_code == 200
    body = found.text.partition("</style>")[2]
    assert "<script" not in body and "<img" not in body and "&lt;script&gt;" in body
    assert "{{ 7 * 7 }}" in body and body.count("</article>") == 1
    policy = found.headers["content-security-policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", found.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"'sha256-{digest}'" in policy and "script-src" not in policy
    assert found.headers["x-content-type-options"] == "nosniff"


async def test_a_link_that_is_no_web_address_is_not_offered(helping: Any) -> None:
    """`javascript:` in a document's link would run in the reader's browser at one click."""
    staff = {"tenant": "acme", "roles": "staff"}
    page = (await helping.http().get("/v1/sources/rooms/passages/b", params=staff, headers=BROWSER)).text
    assert "javascript" not in page
    page = (await helping.http().get("/v1/sources/rooms/passages/c", headers=BROWSER)).text
    assert 'href="https://example.com/d#c"' in html.unescape(page)


async def test_what_a_viewer_may_not_see_is_like_what_is_not_there(helping: Any) -> None:
    """Neither the passage, nor its place between others, nor a difference of words tells that it exists."""
    http = helping.http()
    hidden, absent = [await http.get(f"/v1/sources/rooms/passages/{id}", params={"tenant": "acme"}) for id in "bx"]
    assert hidden.status_code == absent.status_code == 404
    assert hidden.json()["error"]["code"] == "unknown_passage"
    assert hidden.text.replace('\\"b\\"', "") == absent.text.replace('\\"x\\"', "")
    open_ = (await http.get("/v1/sources/rooms/passages/a", params={"tenant": "acme"})).json()
    assert [p["id"] for p in open_["after"]] == ["c"]
    staff = (await http.get("/v1/sources/rooms/passages/a", params={"tenant": "acme", "roles": ["x", "staff"]})).json()
    assert [p["id"] for p in staff["after"]] == ["b", "c"]


async def test_who_approved_it_is_shown_and_whether_that_is_overdue(helping: Any) -> None:
    """A reader who relies on curated content sees that nobody has looked at it since."""
    page = (await helping.http().get("/v1/sources/rooms/passages/a", headers=BROWSER)).text
    assert "Ann" in page and "2020-01-31" in page and "overdue" in page.partition("</style>")[2]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/sources/hlep/passages/x", 404, "unknown_source"),
        ("/v1/sources/help/passages/nothing.md", 404, "unknown_passage"),
        ("/v1/sources/mute/passages/x", 404, "unknown_passage"),
        ("/v1/sources/help/passages/", 404, "not_found"),
        ("/v1/sources/help", 404, "not_found"),
        ("/v1/sources/help/passages/x?tenants=a", 400, "invalid_request"),
        ("/v1/sources/help/passages/x?tenant=a&tenant=b", 400, "invalid_request"),
        ("/v1/sources/help/passages/x?tenant=", 400, "invalid_request"),
        ("/v1/sources/help/passages/x?roles=%ff", 400, "invalid_request"),
        ("/v1/sources/help/passages/x?" + "roles=a&" * 101, 400, "invalid_request"),
        ("/v1/sources/rooms/passages/down", 503, "source_unavailable"),
    ],
)
async def test_what_cannot_be_shown_is_a_typed_error(helping: Any, path: str, status: int, code: str) -> None:
    """A program can tell a wrong name from a passage that is gone, and both from a source that is down."""
    found = await helping.http().get(path, headers=BROWSER)
    assert (found.status_code, found.json()["error"]["code"]) == (status, code)


async def test_a_passage_needs_the_key_like_a_call(served: Serve) -> None:
    """Documents are as private as the answers that quote them."""
    server = await served(scripted() + HELP, QUOTING, FILES, key="secret")
    assert (await server.http().get(HOW_LONG)).status_code == 401
    assert (await server.http().get(HOW_LONG, headers={"authorization": "Bearer secret"})).status_code == 200
    assert (await server.http().post(HOW_LONG, headers={"authorization": "Bearer secret"})).status_code == 405
