"""A folder as a source: read, indexed and searched, it keeps its seam's promises, whatever the folder holds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mainstay
from mainstay import testing
from mainstay.core.errors import ConfigError, SourceError
from mainstay.core.evidence import Passage, Viewer
from mainstay.indexing import Knowledge, Report, refresh
from mainstay.parts.parsing.cutting import LONGEST
from mainstay.parts.readers.folder import Folder as FolderReader
from mainstay.parts.sources.indexed import Indexed
from mainstay.parts.stores.sqlite_index import SqliteIndex

SHIPPING = (
    "# Shipping\n\nParcels leave our warehouse within two working days.\n\n## Abroad\n\nCustoms may add a week to Norway.\n"
)
RETURNS = (
    "---\ntitle: Returns\n---\n# Returns\n\nSend items back within thirty days.\n\n## Refunds\n\nMoney arrives in five days.\n"
)

Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """`folder({"a.md": "text"})` writes a folder of knowledge and gives it."""

    def make(files: dict[str, str | bytes], name: str = "knowledge") -> Path:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for file, text in files.items():
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return root

    return make


def read(path: Path, **options: str) -> tuple[Indexed, Report]:
    """The folder as a source, and what there was to say of it."""
    index = SqliteIndex(":memory:")
    knowledge = Knowledge(name="help", reader=FolderReader(name="help", path=str(path), **options), index=index)
    with ThreadPoolExecutor(1) as elsewhere:
        report = elsewhere.submit(asyncio.run, refresh(knowledge)).result()
    return Indexed(name="help", index=index), report


def source(path: Path, **options: str) -> Indexed:
    found, report = read(path, **options)
    assert not report.faults
    return found


async def first(source: Indexed, query: str) -> Passage:
    return (await source.search(query, limit=3, viewer=Viewer()))[0]


async def test_it_keeps_the_seams_promises(folder: Folder):
    """What every source promises: well-formed passages, best first, the same each time, none where nothing answers."""
    root = folder({"shipping.md": SHIPPING, "sub/returns.markdown": RETURNS, "notes.rst": "Nobody reads this zebra.\n"})
    found = await testing.check_source(
        source(root, link="https://example.com/"),
        finds=["when do parcels leave the warehouse?", "how long does customs take to Norway", "when does the money arrive?"],
        misses=["zebra", "do you sell tickets to the opera?", "title returns yaml"],
    )
    assert {p.document for p in found} == {"shipping.md", "sub/returns.markdown"}


async def test_passages_say_where_they_stand(folder: Folder):
    """A reader can open the file at the place that was quoted: offsets, headings, anchor and link are those of the file."""
    crlf = SHIPPING.replace("\n", "\r\n").encode()
    files = {"sub/übersicht neu.md": SHIPPING, "bom.md": b"\xef\xbb\xbf" + RETURNS.encode(), "crlf.md": crlf}
    root = folder(files)
    knowledge = source(root, link="https://example.com/docs/")
    found = await knowledge.search("customs week Norway; money arrives in five days", limit=9, viewer=Viewer())
    assert {p.document for p in found} == set(files)
    for passage in found:
        text = (root / passage.document).read_text(encoding="utf-8-sig")
        assert text[passage.start : passage.end].strip() == passage.text
    abroad = next(p for p in found if p.document.startswith("sub/"))
    assert abroad.heading == ("Shipping", "Abroad") and abroad.id == "sub/übersicht neu.md#abroad"
    assert abroad.link == "https://example.com/docs/sub/%C3%BCbersicht%20neu.md#abroad"


async def test_a_path_may_be_one_file(folder: Folder):
    """One file is knowledge too, whatever its ending, and its document is its name."""
    root = folder({"faq.rst": SHIPPING, "other.md": RETURNS})
    passages = await source(root / "faq.rst").search("customs Norway", limit=3, viewer=Viewer())
    assert [p.document for p in passages] == ["faq.rst"]
    assert not await source(root / "faq.rst").search("refunds money", limit=3, viewer=Viewer())


@pytest.mark.parametrize(
    ("files", "path", "said"),
    [
        ({}, "knowledge", "there are no documents"),
        ({"notes.rst": "text", ".hidden/a.md": "text"}, "knowledge", "there are no documents"),
        ({"a.md": "text"}, "knowledg", "there is no file or folder"),
    ],
)
async def test_a_folder_that_holds_no_knowledge_is_said_at_load(project: Callable[..., Path], files, path, said):
    """An empty folder and a mistyped one are errors of the project, not answers of nothing."""
    root = project(f'[sources.help]\npath = "{path}"\n', files={f"knowledge/{name}": text for name, text in files.items()})
    (root / "knowledge").mkdir(exist_ok=True)
    with pytest.raises(ConfigError, match=said) as caught:
        mainstay.open(root, environ={}, dev=True)
    assert caught.value.next and "sources.help" in caught.value.where


def test_a_page_in_another_encoding_is_named_by_its_byte(folder: Folder):
    """What is guessed wrongly is quoted wrongly: a page that is no UTF-8 is left out and said, with the place of the slip."""
    found, report = read(folder({"a.md": b"caf\xe9 au lait", "b.md": b"h\x00i\x00", "c.md": SHIPPING}))
    assert [fault.line for fault in report.faults] == [
        "a.md: it is not UTF-8: invalid continuation byte at byte 3; next: save it as UTF-8",
        "b.md: it is no text: there is a zero at character 1; UTF-16 needs its byte order mark; next: save it as UTF-8",
    ]
    assert report.added == ("c.md",) and found.version


async def test_a_file_without_words_is_no_harm(folder: Folder):
    """An empty file, one of blanks and one of comments hold no passages and hide none."""
    root = folder({"a.md": "", "b.md": " \n\n\t\n", "c.md": "<!-- nothing -->\n", "d.md": "# Only a heading\n", "e.md": SHIPPING})
    assert (await first(source(root), "customs Norway")).document == "e.md"


async def test_a_folder_of_empty_files_answers_nothing(folder: Folder):
    """Knowledge that is still to be written is searched without an error."""
    assert await source(folder({"a.md": "", "b.md": "# Title\n"})).search("title", limit=3, viewer=Viewer()) == []


async def test_a_huge_file_is_cut_into_passages(folder: Folder):
    """A file of some megabytes, a line of a hundred thousand characters, and a thousand headings are read, cut and found."""
    filler = "Some words that say little about anything at all. " * 40
    headings = "".join(f"## Part {i}\n\n{filler}\n\n" for i in range(1000))
    needle = "word " * 10_000 + "The zebra crossing is closed. " + "word " * 10_000
    root = folder({"huge.md": f"# Everything\n\n{headings}## The needle\n\n{needle}\n"})
    found = await first(source(root), "is the zebra crossing closed?")
    assert "zebra crossing is closed" in found.text and len(found.text) <= LONGEST
    assert found.heading == ("Everything", "The needle")


@pytest.mark.parametrize("query", ["a" * 30_000, "a_" * 15_000, "_" * 30_000, "a-" * 15_000])
async def test_a_word_without_end_is_looked_up_at_once(folder: Folder, query: str):
    """Who pastes a word of thousands of letters holds up nobody: the time of a search grows with the question's length alone."""
    source_ = source(folder({"shipping.md": SHIPPING}))
    began = time.monotonic()
    await source_.search(query, limit=3, viewer=Viewer())
    assert time.monotonic() - began < 3


async def test_weird_names_are_documents_like_others(folder: Folder):
    """Blanks, signs, other scripts and capital endings in names are kept as they are."""
    names = ["a b#c?.md", "Ünïcode 汉字.MD", "-dash.md", "per%20cent.Markdown", "quo\"te'.md"]
    root = folder({name: f"# Title {i}\n\nThe animal number {i} is called animal{i}x.\n" for i, name in enumerate(names)})
    knowledge = source(root, link="https://example.com/")
    for i, name in enumerate(names):
        found = await first(knowledge, f"animal{i}x")
        assert found.document == name
        assert found.link is not None and " " not in found.link and found.link.count("#") == 1 and "?" not in found.link


NO_LINKS = pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need rights there")


@NO_LINKS
async def test_links_in_circles_end(folder: Folder):
    """Links to the folders above them and to each other's neither hang the load nor bring a passage twice."""
    root = folder({"a.md": SHIPPING, "sub/b.md": RETURNS, "other/c.md": "# Other\n\nNothing.\n"})
    (root / "sub" / "up").symlink_to(root, target_is_directory=True)
    (root / "sub" / "aside").symlink_to(root / "other", target_is_directory=True)
    (root / "other" / "aside").symlink_to(root / "sub", target_is_directory=True)
    passages = await source(root).search("customs week Norway", limit=9, viewer=Viewer())
    assert [p.document for p in passages] == ["a.md"]
    assert (await first(source(root), "refunds money days")).document == "sub/b.md"


@NO_LINKS
async def test_a_linked_folder_is_read(folder: Folder):
    """Knowledge that lies elsewhere and is linked to is knowledge: under the link's name, its own links too, once."""
    elsewhere = folder({"returns.md": RETURNS, "deep/shipping.md": SHIPPING}, name="elsewhere")
    root = folder({"a.md": "# A\n\nNothing.\n"})
    (root / "linked").symlink_to(elsewhere, target_is_directory=True)
    (root / "linked again").symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "deep" / "out").symlink_to(folder({"opera.md": "# Opera\n\nTickets for the opera.\n"}, name="third"))
    assert [p.document for p in await source(root).search("customs week Norway", limit=9, viewer=Viewer())] == [
        "linked/deep/shipping.md"
    ]
    assert (await first(source(root), "opera tickets")).document == "linked/deep/out/opera.md"


@NO_LINKS
@pytest.mark.parametrize("target", ["page.md", "gone.md"])
def test_a_link_to_nowhere_is_named(folder: Folder, target: str):
    """A page that is silently left out would be a question that is silently refused."""
    root = folder({"a.md": SHIPPING, "sub/b.md": RETURNS})
    (root / "sub" / "page.md").symlink_to(root / "sub" / target)
    _, report = read(root)
    (fault,) = report.faults
    assert fault.line.startswith("sub/page.md: it cannot be read: ") and "next: " in fault.line
    assert set(report.added) == {"a.md", "sub/b.md"}


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """The rights of somebody who is not root, for whom everything can be read."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may look into, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.mark.skipif(sys.platform == "win32", reason="rights are another matter there")
@pytest.mark.parametrize(("locked", "mode"), [("sub", 0), ("sub", 0o444), ("sub/deep", 0)])
def test_a_folder_that_cannot_be_looked_into_is_named(open_folder: Path, locked: str, mode: int):
    """What is silently left out would be questions that are silently refused: it is not known what there is."""
    for file in ("a.md", "b.md", "sub/c.md", "sub/deep/d.md"):
        (open_folder / file).parent.mkdir(parents=True, exist_ok=True)
        (open_folder / file).write_text(SHIPPING)
    (open_folder / locked).chmod(mode)
    try:
        with as_nobody(), pytest.raises(SourceError, match=rf'{locked}[^"]*" cannot be read: Permission denied') as refused:
            read(open_folder)
    finally:
        (open_folder / locked).chmod(0o755)
    assert refused.value.next


@pytest.mark.skipif(sys.platform == "win32", reason="rights are another matter there")
def test_a_page_that_cannot_be_read_is_named(open_folder: Path):
    """One page without rights costs a line in the report, and none of the others."""
    for file in ("a.md", "b.md"):
        (open_folder / file).write_text(SHIPPING)
    (open_folder / "a.md").chmod(0)
    with as_nobody():
        _, report = read(open_folder)
    assert [fault.line for fault in report.faults] == [
        "a.md: it cannot be read: Permission denied; next: make it readable, or take it away"
    ]
    assert report.added == ("b.md",)


@pytest.mark.skipif(sys.platform == "win32", reason="there are none there")
def test_pipes_are_no_documents(folder: Folder):
    """What has the name of a page and is none is passed over, without waiting for what it may say."""
    root = folder({"a.md": SHIPPING})
    os.mkfifo(root / "pipe.md")
    assert source(root).version == source(folder({"a.md": SHIPPING})).version


async def test_its_version_is_that_of_its_content(folder: Folder):
    """Answers are cached under the version: it stays with the content, and changes with every edit, new name or other link."""
    root = folder({"a.md": SHIPPING})
    before = source(root)
    assert source(root).version == before.version
    assert source(root, link="https://example.com/").version != before.version
    versions = {before.version}
    for file, text in [("a.md", SHIPPING + "More.\n"), ("a.md", SHIPPING.replace("two", "ten")), ("b.md", "New.\n")]:
        folder({file: text})
        versions.add(source(root).version)
    (root / "b.md").rename(root / "c.md")
    versions.add(source(root).version)
    assert len(versions) == 5


async def test_an_edit_counts_after_a_reload(opened: Callable[..., mainstay.Mainstay]):
    """What is on disk now is served from the next load on, and an answer cached before it is not served again."""
    settings = '[sources.help]\npath = "help"\n'
    feature = """
        summary = "Answers"
        deadline = "2s"

        [[ladder]]
        search = "help"

        [[ladder]]
        message = "Sorry."

        [cache]
        keep = "1h"
    """
    app = opened(settings, feature, {"help/a.md": SHIPPING})
    asked = "When do parcels leave the warehouse?"
    before = app.features.ready["answers"].sources["help"].version
    assert "two working days" in (await app.run("answers", question=asked)).text
    (app.root / "help" / "a.md").write_text(SHIPPING.replace("two", "seven"), encoding="utf-8")
    assert "two working days" in (await app.run("answers", question=asked)).text
    app.reload()
    assert app.features.ready["answers"].sources["help"].version != before
    answer = await app.run("answers", question=asked)
    assert "seven working days" in answer.text and answer.status == "answered"
