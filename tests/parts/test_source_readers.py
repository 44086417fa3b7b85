"""The shipped readers: every document that there is, and where nobody can say what there is, an error that says what to do."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from raw_server import Peer, Raw

from mainstay.core.errors import SourceError
from mainstay.core.evidence import Curated
from mainstay.core.project import Service
from mainstay.core.seams import Raw as Document
from mainstay.parts.databases.sqlite import SQLite
from mainstay.parts.http import Http
from mainstay.parts.readers.folder import Folder
from mainstay.parts.readers.http import Http as Address
from mainstay.parts.readers.sql import Sql


async def all_of(reader: Any) -> list[Document]:
    return [raw async for raw in reader.documents()]


# Folders


async def test_every_kind_of_file_is_read(tmp_path: Path):
    """A folder is read whole: what is of a kind that can be parsed, and nothing of what cannot, nor what is hidden."""
    for name in ("a.md", "b.HTML", "c.pdf", "d.docx", "e.csv", "f.txt", "sub/g.htm", "x.png", ".git/h.md", "sub/.i.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = await all_of(Folder(name="help", path=str(tmp_path), link="https://example.com/"))
    assert [raw.id for raw in found] == ["a.md", "b.HTML", "c.pdf", "d.docx", "e.csv", "f.txt", "sub/g.htm"]
    assert found[-1].media == "text/html" and found[-1].link == "https://example.com/sub/g.htm"


async def test_a_page_says_who_may_see_it(tmp_path: Path):
    """Front matter names tenants, roles and who approved the page; in whatever way YAML writes a list."""
    (tmp_path / "a.md").write_text(
        "---\ntitle: A\ntenants: [acme, zoo]\nroles:\n  - staff\napprover: Ann\nreview: 2027-03-31\n---\nText\n"
    )
    (tmp_path / "b.md").write_text('---\nTenant: "acme"\n---\nText\n')
    (tmp_path / "c.md").write_text("---\ntitle: C\n---\ntenants: none, this is text\n")
    a, b, c = await all_of(Folder(name="help", path=str(tmp_path)))
    assert (a.tenants, a.roles, a.curated) == (("acme", "zoo"), ("staff",), Curated(approver="Ann", review="2027-03-31"))
    assert (b.tenants, b.curated) == (("acme",), None)
    assert (c.tenants, c.roles) == ((), ())


@pytest.mark.parametrize(
    "written",
    ["tenants: [acme", "tenants: 5", "tenants: {a: b}", "roles: [1, 2]", "review: 2027-03-31", "approver: Ann\nreview: soon",
     "tenant: a\ntenants: [b]", "tenants: [[acme]]", "tenants: ['']"],
)  # fmt: skip
async def test_front_matter_that_is_not_understood_shows_nobody_the_page(tmp_path: Path, written: str):
    """Whoever writes `tenants` means to hide the page from others: a slip in it must not open it to everybody."""
    (tmp_path / "a.md").write_text(f"---\n{written}\n---\nFor staff only.\n")
    (raw,) = await all_of(Folder(name="help", path=str(tmp_path)))
    assert raw.fault and "; next: " in raw.fault and not raw.data


async def test_a_file_that_disappears_is_named(tmp_path: Path):
    """A file that goes while the folder is read is a line; a folder that goes says that nobody knows what there is."""
    for name in ("a.md", "b.md", "c.md"):
        (tmp_path / "help").mkdir(exist_ok=True)
        (tmp_path / "help" / name).write_text("Text.")
    reading = Folder(name="help", path=str(tmp_path / "help")).documents()
    assert (await anext(reading)).id == "a.md"
    (tmp_path / "help" / "b.md").unlink()
    assert "disappeared" in (await anext(reading)).fault
    shutil.rmtree(tmp_path / "help")
    with pytest.raises(SourceError, match="disappeared"):
        await anext(reading)


async def test_a_file_of_200_mb_is_not_even_opened_to_its_end(tmp_path: Path):
    """One enormous file costs a line, and not the memory that it would take."""
    with (tmp_path / "dump.csv").open("wb") as file:
        file.truncate(200_000_000)
    (raw,) = await all_of(Folder(name="help", path=str(tmp_path)))
    assert raw.fault.startswith("it has 200 MB") and not raw.data


# Queries


@pytest.fixture
def database(tmp_path: Path) -> Callable[[str], SQLite]:
    """`database("create table …")` makes a database file and opens it as a part."""

    def make(statements: str) -> SQLite:
        path = tmp_path / "shop.db"
        db = apsw.Connection(str(path))
        db.execute(statements)
        db.close()
        return SQLite(Service(name="shop", kind="sqlite", path=str(path)))

    return make


PAGES = """
create table pages(id integer, title text, html text, tenants text, role text, approver text, review text);
insert into pages values(1, 'Returns', '<p>Thirty days.', 'acme, zoo', 'staff', 'Ann', '2027-03-31');
insert into pages values(2, null, null, null, null, null, null), (3, 'B', '<p>x', '["a"]', null, null, '2027-03-31');
"""


async def test_rows_are_documents(database: Callable[[str], SQLite]):
    """A query gives documents with their audience and who answers for them; one that is described wrongly is a line."""
    reader = Sql(name="help", database=database(PAGES), query="select * from pages order by id", link="https://shop.example/")
    one, two, three = await all_of(reader)
    assert (one.id, one.title, one.data, one.link) == ("1", "Returns", b"<p>Thirty days.", "https://shop.example/1")
    assert (one.tenants, one.roles, one.curated) == (("acme", "zoo"), ("staff",), Curated(approver="Ann", review="2027-03-31"))
    assert one.media.startswith("text/html") and (two.tenants, two.data, two.fault) == ((), b"", "")
    assert "no `approver`" in three.fault and "next: " in three.fault


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select 1 as id, 'x' as text, 'acme' as tennant", "unknown column 'tennant'; did you mean \"tenant\"?"),
        ("select 'x' as text", "needs an `id`"),
        ("select null as id, 'x' as text", "needs an `id`"),
        ("select 1 as id, 'x' as text where false", "gives no rows"),
        ("select nonsense", "no such column"),
        ("with recursive n(x) as (select 1 union all select x+1 from n) select x as id, 'x' as text from n", ""),
        ("with recursive n(x) as (select 1 union all select x+1 from n) select max(x) as id, 'x' as text from n", ""),
    ],
)
async def test_a_query_that_cannot_say_what_there_is_is_an_error(database: Callable[[str], SQLite], query: str, said: str):
    """Whether the query is wrong, empty, endless or hangs: nothing is known of what there is, and that is said in time."""
    reader = Sql(name="help", database=database("create table t(a)"), query=query, seconds=1)
    async with asyncio.timeout(20):
        with pytest.raises(SourceError) as caught:
            await all_of(reader)
    assert said in str(caught.value) and caught.value.next


# Addresses


def answering(pages: dict[str, tuple[int, str, bytes]]) -> Callable[[Peer], Any]:
    """A script that serves these pages by their path: status, content type, body."""

    async def script(peer: Peer) -> None:
        while True:
            path = (await peer.head()).split(" ")[1]
            status, kind, body = pages.get(path, (404, "text/plain", b"no"))
            head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
            await peer.say(head.encode() + body)

    return script


def listed(*documents: Any, next: str | None = None) -> tuple[int, str, bytes]:
    return 200, "application/json", json.dumps({"documents": documents, "next": next}).encode()


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    client = Http()
    yield client
    await client.close()


async def test_pages_are_followed_to_their_end(http: Http):
    """A paged address is read whole, whatever way its pages are named."""
    pages = {
        "/docs": listed({"id": "a", "text": "One."}, {"id": "b", "html": "<p>Two."}, next="/docs?page=2"),
        "/docs?page=2": listed({"id": "c", "markdown": "# Three", "tenants": ["acme"]}, next="?page=3"),
        "/docs?page=3": (200, "application/json; charset=utf-8", b'[{"id": "d", "text": "Four."}]'),
    }
    async with Raw(answering(pages)) as server:
        found = await all_of(Address(name="help", url=f"{server.url}/docs", http=http))
    assert [(raw.id, raw.media.partition(";")[0]) for raw in found] == [
        ("a", "text/plain"), ("b", "text/html"), ("c", "text/markdown"), ("d", "text/plain")
    ]  # fmt: skip
    assert found[2].tenants == ("acme",)


async def test_one_page_is_read_by_its_content_type(http: Http):
    """An address of a page is a source of one document, which links to itself."""
    async with Raw(answering({"/help/returns?x=1": (200, "text/html; charset=latin-1", b"<p>caf\xe9")})) as server:
        (raw,) = await all_of(Address(name="help", url=f"{server.url}/help/returns?x=1", http=http))
    assert raw.id.endswith("/help/returns") and raw.media == "text/html; charset=latin-1" and raw.data == b"<p>caf\xe9"


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ({"/": listed({"id": "a", "text": "x"}, next="/2"), "/2": (500, "text/plain", b"oops")}, "the answer is 500"),
        ({"/": listed({"id": "a", "text": "x"}, next="/2"), "/2": listed({"id": "b", "text": "x"}, next="/")}, "leads to itself"),
        ({"/": listed({"id": "a", "text": "x"}, next="http://169.254.169.254/latest")}, "another server"),
        ({"/": listed({"id": "a", "text": "x"}, next="/2"), "/2": (200, "text/html", b"<p>Log in")}, "expected JSON"),
        ({"/": (200, "application/json", b'{"documents": ')}, "no JSON"),
        ({"/": (200, "application/json", b'"hello"')}, "no list of documents"),
        ({"/": listed("a")}, "a document is an object"),
        ({"/": listed({"id": "a", "text": "x", "tennants": ["acme"]})}, "unknown column"),
        ({"/": listed()}, "there are no documents"),
        ({}, "the answer is 404"),
    ],
)
async def test_an_address_that_cannot_say_what_there_is_is_an_error(http: Http, pages: dict[str, Any], said: str):
    """A page that fails, loops, leads astray or makes no sense: what was read of the others is not taken for the whole."""
    async with Raw(answering(pages)) as server:
        with pytest.raises(SourceError, match=said) as caught:
            await all_of(Address(name="help", url=f"{server.url}/", http=http))
    assert caught.value.next


@pytest.mark.parametrize("piece", [b"", b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 9999\r\n\r\n<p>"])
async def test_an_address_that_stalls_ends_in_time(http: Http, piece: bytes):
    """A server that says nothing, or stops in the middle, is left."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.say(piece)
        await peer.gone()

    async with Raw(script) as server, asyncio.timeout(20):
        with pytest.raises(SourceError, match=r"no whole answer in 0\.5 seconds"):
            await all_of(Address(name="help", url=f"{server.url}/", http=http, seconds=0.5))


async def test_nobody_there_is_an_error(http: Http):
    """A server that is down is said, with its address."""
    async with Raw(answering({})) as server:
        url = server.url
    with pytest.raises(SourceError, match="refused"):
        await all_of(Address(name="help", url=f"{url}/", http=http))
