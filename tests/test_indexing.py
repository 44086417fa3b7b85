"""Indexing: only what changed is made anew, nothing is half there, and what cannot be read keeps what it had."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

import mainstay
from mainstay.core.errors import ConfigError, Overloaded, Rejected, SourceError
from mainstay.core.evidence import Curated, Viewer
from mainstay.core.seams import Entry, Raw
from mainstay.indexing import Busy, Knowledge, Report, Step, digest_of, refresh
from mainstay.parts.readers.folder import Folder
from mainstay.parts.stores.sqlite_index import SqliteIndex

ANYBODY = Viewer()


class Shelf:
    """A reader of the documents that it is given; an error among them is raised there."""

    def __init__(self, *documents: Raw | Exception) -> None:
        self.found: Sequence[Raw | Exception] = documents

    async def documents(self) -> AsyncIterator[Raw]:
        for document in self.found:
            if isinstance(document, Exception):
                raise document
            yield document


def page(id: str, text: str, **more: Any) -> Raw:
    return Raw(id=id, data=text.encode(), media="text/markdown", **more)


class Lengths:
    """An embedder that says how long a text is, and counts how often it is asked."""

    def __init__(self, name: str = "lengths", *, errors: Sequence[Exception] = ()) -> None:
        self.name, self.texts, self._errors = name, [], list(errors)

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        if self._errors:
            raise self._errors.pop(0)
        self.texts += texts
        return [(float(len(text)), 1.0) for text in texts]


def knowledge(*documents: Raw | Exception, **more: Any) -> Knowledge:
    return Knowledge(**{"name": "help", "reader": Shelf(*documents), "index": SqliteIndex(":memory:"), **more})


async def now(known: Knowledge, *documents: Raw | Exception, **how: Any) -> Report:
    """Index again, with these documents there now."""
    return await refresh(msgspec.structs.replace(known, reader=Shelf(*documents)), **how)


def found(known: Knowledge, query: str, **viewer: Any) -> list[str]:
    return [passage.id for passage in known.index.search(query, b"", limit=9, viewer=Viewer(**viewer))]


A, B = page("a.md", "# Returns\n\nThirty days.\n"), page("b.md", "# Refunds\n\nFive days of zebra.\n")


async def test_only_what_changed_is_made_anew():
    """A second run costs next to nothing; an edit, a new document and one that is gone are each seen, and nothing else."""
    known = knowledge(A, B)
    first = await refresh(known)
    assert (first.added, first.changed, first.unchanged, first.documents, first.passages) == (("a.md", "b.md"), (), 0, 2, 2)
    version = known.index.version
    again = await refresh(known)
    assert (again.differs, again.unchanged, known.index.version) == (False, 2, version)
    edited = page("a.md", "# Returns\n\nForty days.\n")
    third = await now(known, edited, page("c.md", "# Opera\n\nTickets.\n"))
    assert (third.added, third.changed, third.removed, third.unchanged) == (("c.md",), ("a.md",), ("b.md",), 0)
    assert known.index.version != version and not found(known, "zebra") and found(known, "opera tickets") == ["c.md#opera"]


@pytest.mark.parametrize(
    "more", [{"tenants": ("acme",)}, {"roles": ("staff",)}, {"link": "https://x.example/a"}, {"title": "T"},
             {"curated": Curated(approver="Ann", review="2099-01-01")}],
)  # fmt: skip
async def test_what_is_said_of_a_document_is_part_of_it(more: dict[str, Any]):
    """Who may see a document, what it is called, where it links to and who answers for it: a change of that is a change."""
    known = knowledge(A)
    await refresh(known)
    report = await now(known, page("a.md", A.data.decode(), **more))
    assert report.changed == ("a.md",)
    (passage,) = known.index.search("thirty days", b"", limit=1, viewer=Viewer(tenant="acme", roles=("staff",)))
    assert passage.curated == more.get("curated") and (passage.link or "").startswith(more.get("link", ""))


async def test_check_writes_nothing():
    """Whoever asks what would change has changed nothing by it."""
    known = knowledge(A, B)
    report = await refresh(known, check=True)
    assert report.differs and report.added == ("a.md", "b.md") and known.index.digests() == {}


BROKEN = Raw(id="a.md", data=b"caf\xe9 x", media="text/markdown")


async def test_what_cannot_be_read_keeps_what_it_had():
    """A page that is broken today answers as it did yesterday, and the report says so until it is mended."""
    known = knowledge(A, B)
    await refresh(known)
    for again in (True, True, False):
        report = await now(known, BROKEN, B, again=again)
        assert [fault.line for fault in report.faults] == [
            "a.md: it is not UTF-8: invalid continuation byte at byte 3; next: save it as UTF-8"
        ]
        assert found(known, "thirty days") == ["a.md#returns"] and list(known.index.faults()) == ["a.md"]
    report = await now(known, A, B)
    assert not report.faults and not known.index.faults() and report.changed == ("a.md",)


async def test_a_fault_that_is_known_is_not_looked_for_again_at_every_load():
    """A document that takes its parser's whole time would do so at every start; `mainstay index` tries it again."""
    known = knowledge(BROKEN, B)
    await refresh(known)
    version = known.index.version
    report = await refresh(known, again=False)
    assert len(report.faults) == 1 and not report.differs and known.index.version == version
    known.index.write([Entry(document="b.md", digest=digest_of(B), passages=(), fault="it took too long; next: again")])
    assert len((await refresh(known, again=False)).faults) == 2 and not found(known, "zebra")
    assert (await refresh(known)).changed == ("b.md",) and found(known, "zebra")


async def test_what_a_reader_cannot_say_changes_nothing():
    """A listing that ends in the middle is not taken for the whole: nothing is removed, added or half there."""
    known = knowledge(A, B)
    await refresh(known)
    version = known.index.version
    for error in (SourceError("gone", next="look"), OSError("disk"), RuntimeError("bug")):
        with pytest.raises(SourceError) as caught:
            await now(known, page("c.md", "# New\n\nText.\n"), error)
        assert caught.value.where == "help" and caught.value.next
    with pytest.raises(SourceError, match="no documents"):
        await now(known)
    assert known.index.version == version and set(known.index.digests()) == {"a.md", "b.md"}


# Who may see what


async def test_a_source_and_its_documents_both_say_who_may_see_them():
    """Only whom both allow finds a document, in the words of the index and by its name."""
    known = knowledge(
        page("a.md", "# A\n\nzebra"),
        page("b.md", "# B\n\nzebra", tenants=("zoo",)),
        page("c.md", "# C\n\nzebra", roles=("keeper",)),
        tenants=("zoo", "acme"),
        roles=("keeper", "vet"),
    )
    await refresh(known)
    assert sorted(found(known, "zebra", tenant="zoo", roles=("keeper",))) == ["a.md#a", "b.md#b", "c.md#c"]
    assert found(known, "zebra", tenant="acme", roles=("vet",)) == ["a.md#a"]
    assert found(known, "zebra", tenant="other", roles=("keeper",)) == found(known, "zebra", tenant="zoo") == []


async def test_what_nobody_may_see_is_shown_to_nobody():
    """A document for a tenant that its source is not for must not become one for all: it is named, and what was there goes."""
    known = knowledge(page("a.md", "# A\n\nzebra"), B, tenants=("acme",))
    await refresh(known)
    report = await now(known, page("a.md", "# A\n\nzebra", tenants=("zoo",)), B)
    assert "nobody may see it" in report.faults[0].line and "next: " in report.faults[0].line
    assert found(known, "zebra", tenant="zoo") == [] and known.index.entry("b.md") is not None


async def test_a_broken_document_is_not_shown_to_more_than_before():
    """What a broken document says of its audience can only narrow who sees its old passages."""
    known = knowledge(page("a.md", "# A\n\nzebra", tenants=("acme", "zoo")))
    await refresh(known)
    await now(known, BROKEN)
    assert found(known, "zebra", tenant="acme") and not found(known, "zebra", tenant="other")
    await now(known, msgspec.structs.replace(BROKEN, tenants=("zoo",)))
    assert found(known, "zebra", tenant="zoo") and not found(known, "zebra", tenant="acme")


async def test_two_documents_of_one_name_are_named():
    """The second would take the first one's place, and its audience."""
    known = knowledge(A, page("a.md", "# Other\n\nText.\n"))
    report = await refresh(known)
    assert "second document" in report.faults[0].line and found(known, "thirty days") == ["a.md#returns"]


async def test_passages_of_two_documents_never_share_a_name():
    """A document whose name looks like a passage of another one's is still itself, and can be cited."""
    text = "# X\n\n" + "Words. " * 300
    known = knowledge(page("a", text), page("a#x", "zebra"), page("a~2", "okapi"), page("a#x~2", "quagga"))
    report = await refresh(known)
    assert not report.faults and len(report.added) == 4
    assert [len(found(known, animal)) for animal in ("zebra", "okapi", "quagga")] == [1, 1, 1]


async def test_overdue_reviews_are_named():
    """Somebody answers for curated content until a day, and on the next day the report says so."""
    late = Curated(approver="Ann", review="2020-01-01")
    known = knowledge(page("a.md", "x", curated=late), B, curated=Curated(approver="Bob", review="2999-01-01"))
    assert (await refresh(known)).overdue == ("a.md",) == (await refresh(known)).overdue


# Vectors


async def test_passages_are_embedded_once():
    """What did not change is not paid for again; another embedder makes all vectors anew, those of broken documents too."""
    first, second = Lengths(), Lengths("other")
    known = knowledge(A, B, embedder=first)
    await refresh(known)
    assert len(first.texts) == 2 and first.texts[0] == "Returns\nThirty days." and known.index.embedder == "lengths"
    await now(known, page("a.md", "# Returns\n\nForty days.\n"), B)
    assert len(first.texts) == 3
    await now(msgspec.structs.replace(known, embedder=second), BROKEN, B)
    entries = [known.index.entry(document) for document in ("a.md", "b.md")]
    assert len(second.texts) == 2 and known.index.embedder == "other" and all(e is not None and e.vectors for e in entries)
    await now(msgspec.structs.replace(known, embedder=None), A, B)
    assert known.index.embedder == ""


async def test_an_embedder_that_fails_changes_nothing():
    """A passing failure is waited out; a lasting one is said, and the index stays as it was."""
    known = knowledge(A, embedder=Lengths(errors=[Overloaded("busy", retry_after=0.01)]))
    await refresh(known)
    version = known.index.version
    with pytest.raises(SourceError, match="the embedder lengths failed: no") as caught:
        await now(msgspec.structs.replace(known, embedder=Lengths(errors=[Rejected("no")])), A, B)
    assert caught.value.next and known.index.version == version


# Several processes


async def test_one_process_at_a_time_indexes_a_source(tmp_path: Path):
    """The second waits and says so, or is told to come back."""
    lock = tmp_path / "help.lock"
    entered, release = asyncio.Event(), asyncio.Event()

    class Slow(Shelf):
        async def documents(self) -> AsyncIterator[Raw]:
            entered.set()
            await release.wait()
            yield A

    first = knowledge(lock=lock, reader=Slow())
    running = asyncio.create_task(refresh(first))
    await entered.wait()
    second, steps = knowledge(B, lock=lock), list[Step]()
    with pytest.raises(Busy):
        await refresh(second, wait=False)
    waiting = asyncio.create_task(refresh(second, seen=steps.append))
    await asyncio.sleep(0.3)
    assert not waiting.done() and {step.doing for step in steps} == {"waiting"}
    release.set()
    assert (await running).added == ("a.md",) and (await waiting).added == ("b.md",)


WRITER = """
import asyncio, sys
from pathlib import Path
from mainstay.indexing import Knowledge, refresh
from mainstay.parts.readers.folder import Folder
from mainstay.parts.stores.sqlite_index import SqliteIndex
folder, file = sys.argv[1:3]
index = SqliteIndex(Path(file))
known = Knowledge(name="help", reader=Folder(name="help", path=folder), index=index, lock=Path(file + ".lock"))
asyncio.run(refresh(known, seen=lambda step: print(step.doing, step.done, flush=True)))
"""


def shelf(folder: Path, pages: int, animal: str) -> None:
    folder.mkdir(exist_ok=True)
    for i in range(pages):
        (folder / f"{i}.md").write_text(f"# Page {i}\n\nThe animal of page {i} is the {animal}.\n")


def opened(folder: Path, file: Path) -> Knowledge:
    return Knowledge(name="help", reader=Folder(name="help", path=str(folder)), index=SqliteIndex(file))


@pytest.mark.parametrize("at", ["reading 150", "writing", "writing, a little later"])
async def test_a_process_that_dies_while_it_indexes_changes_nothing(tmp_path: Path, at: str):
    """kill -9 while documents are read or written: what was indexed before still answers, and the next run works."""
    folder, file = tmp_path / "help", tmp_path / "help.db"
    shelf(folder, 200, "zebra")
    known = opened(folder, file)
    await refresh(known)
    version = known.index.version
    shelf(folder, 200, "okapi")
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(file)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(at.partition(",")[0]):
            break
    if "later" in at:
        time.sleep(0.03)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    if known.index.version == version:  # else it was done before it was killed
        assert len(found(known, "which page has the zebra")) == 9 and not found(known, "okapi")
    report = await refresh(known)
    assert set(report.changed) in (set(), {f"{i}.md" for i in range(200)}) and found(known, "okapi") and not found(known, "zebra")
    known.index.close()


async def test_whoever_searches_sees_before_or_after(tmp_path: Path):
    """While another process writes, a search finds the old pages or the new ones, and never some of each."""
    folder, file = tmp_path / "help", tmp_path / "help.db"
    shelf(folder, 100, "zebra")
    known = opened(folder, file)
    await refresh(known)
    seen: set[str] = set()
    stop = threading.Event()

    def look() -> None:
        reader = SqliteIndex(file)
        while not stop.is_set():
            passages = reader.search("what is the animal of the page", b"", limit=50, viewer=ANYBODY)
            seen.add(" ".join(sorted({text for p in passages for text in ("zebra", "okapi") if text in p.text})))
        reader.close()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for animal in ("okapi", "zebra", "okapi"):
            shelf(folder, 100, animal)
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", WRITER, str(folder), str(file)],
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
    finally:
        stop.set()
        looking.join()
    assert seen <= {"zebra", "okapi"} and "okapi" in seen
    known.index.close()


async def test_two_processes_at_once_corrupt_nothing(tmp_path: Path):
    """Both end well, and the index holds each page once."""
    folder, file = tmp_path / "help", tmp_path / "help.db"
    shelf(folder, 100, "zebra")
    command = [sys.executable, "-c", WRITER, str(folder), str(file)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    known = opened(folder, file)
    assert not (await refresh(known)).differs and len(known.index.digests()) == 100
    known.index.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the end of its pipe and its limit of time do it")
async def test_a_parser_dies_with_the_process_that_started_it(tmp_path: Path):
    """kill -9 of whoever indexes, in the middle of a document that takes long: no process is left behind."""
    program = """
    import sys
    from mainstay.parts.parsing.safely import Parser
    with Parser(seconds=60) as parser:
        parser.parse("text/html", b"<p>x")
        print(parser._process.pid, flush=True)
        parser.parse("text/html", b"<p>a" * 8_000_000)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    time.sleep(0.5)
    process.kill()
    process.communicate(timeout=20)
    end = time.monotonic() + 10
    while _lives(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _lives(worker)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Through the front door

SETTINGS = '[sources.help]\npath = "help"\n'
FEATURE = """
    summary = "Answers"
    deadline = "2s"

    [[ladder]]
    search = "help"

    [[ladder]]
    message = "Sorry."
"""
Opened = Callable[..., mainstay.Mainstay]


async def test_a_folder_that_goes_is_served_as_it_was(opened: Opened):
    """A share that is not mounted one morning takes no answers with it; `doctor` and the log say it."""
    app = opened(SETTINGS, FEATURE, {"help/a.md": A.data.decode()})
    shutil.rmtree(app.root / "help")
    app.reload()
    assert "Thirty days" in (await app.run("answers", question="How many days do I have for returns?")).text
    assert "there is no file or folder" in str(app.loader.sources.troubles["help"])
    (app.root / "help").mkdir()
    app.reload()
    assert "there are no documents" in str(app.loader.sources.troubles["help"])
    (app.root / "help" / "a.md").write_text("# Returns\n\nForty days.\n")
    app.reload()
    assert "Forty days" in (await app.run("answers", question="How many days do I have for returns?")).text
    assert not app.loader.sources.troubles


async def test_what_a_tenant_may_not_see_answers_nobody_else(opened: Opened):
    """From the call to the index: tenant and roles of the call decide what is found."""
    secret = "---\ntenants: [acme]\nroles: [staff]\n---\n# Bonus\n\nThe bonus is nine days.\n"
    app = opened(SETTINGS, FEATURE, {"help/a.md": A.data.decode(), "help/b.md": secret})
    seen = [await app.run("answers", question="How much is the bonus?", **who) for who in (
        {}, {"tenant": "acme"}, {"roles": ["staff"]}, {"tenant": "acme", "roles": ["staff"]}
    )]  # fmt: skip
    assert ["nine days" in answer.text for answer in seen] == [False, False, False, True]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('[sources.help]\nkind = "http"\nurl = "http://127.0.0.1:9/"\n', "never indexed"),
        ('[sources.help]\nkind = "http"\nurl = "http://user:pw@127.0.0.1/"\n', "secret"),
        ('[sources.help]\nkind = "sql"\ndatabase = "shop"\n[sources.help.options]\nquery = "select 1"\n', 'no database "shop"'),
        ('[sources.help]\nkind = "sql"\n', "the key `database` is missing"),
        ('[sources.help]\npath = "help"\nembedder = "big"\n', 'no embedder "big"'),
        ('[sources.help]\npath = "help"\nurl = "http://127.0.0.1/"\n', "unknown key"),
        ('[sources.help]\nkind = "shop.search:Engine"\ntenants = ["acme"]\n', "cannot be held to this"),
    ],
)
def test_a_source_that_cannot_be_served_is_said_at_load(project: Callable[..., Path], settings: str, said: str):
    """What is wrong with a source is an error with its place and the next thing to type, before anybody asks."""
    files = {"help/a.md": "Text.", "shop/__init__.py": "", "shop/search.py": "class Engine:\n    pass\n"}
    with pytest.raises(ConfigError, match=said) as caught:
        mainstay.open(project(settings, FEATURE, files), environ={}, dev=True)
    assert "sources.help" in caught.value.where
    if said == "never indexed":
        assert caught.value.next == "mainstay index help"
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


async def test_a_broken_index_is_made_anew(opened: Opened):
    """An index is made from its source, so a damaged file is put aside and costs one reading."""
    app = opened(SETTINGS, FEATURE, {"help/a.md": A.data.decode()})
    await app.close()
    file = app.root / ".mainstay" / "index" / "help.db"
    for suffix in ("-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
    file.write_bytes(b"this is no database" * 1000)
    with mainstay.open(app.root, environ={}, dev=True) as again:
        assert "Thirty days" in (await again.run("answers", question="How many days do I have for returns?")).text
        await again.close()
    assert file.with_name("help.db.broken").exists()


def test_an_index_that_has_no_place_is_in_memory(project: Callable[..., Path], tmp_path: Path):
    """Where nothing can be written, knowledge is read all the same."""
    from mainstay.loading import Loader
    from mainstay.parts.http import Http
    from mainstay.spec.settings_file import read_settings

    root = project(SETTINGS, FEATURE, {"help/a.md": A.data.decode()})
    (tmp_path / "taken").write_text("a file where the folder would be")
    for place in (None, tmp_path / "taken" / "index"):
        loader = Loader(root, dict(os.environ), Http(), place)
        source = loader.folder(read_settings(root, {})).ready["answers"].sources["help"]
        assert len(asyncio.run(source.search("thirty days", limit=1, viewer=ANYBODY))) == 1
        loader.sources.close()
