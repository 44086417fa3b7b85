"""How long does it take to index 1,000 Markdown pages from nothing, and again when nothing changed?

Pages of ordinary length (three sections, some 4,000 characters), in a folder on this machine's disk, into a SQLite file; words
alone, without an embedder, whose time is its own. Printed, never asserted; the aim is under 20 seconds from nothing.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path

from mainstay.indexing import Knowledge, Report, refresh
from mainstay.parts.readers.folder import Folder
from mainstay.parts.stores.sqlite_index import SqliteIndex

PAGES, SECTIONS, WORDS = 1000, 3, 220


def write(folder: Path) -> None:
    chance = random.Random(4)
    words = ["".join(chance.choices("abcdefghijklmnoprstuvw", k=chance.randint(3, 10))) for _ in range(20_000)]
    for number in range(PAGES):
        text = [f"# Page {number}\n"]
        for section in range(SECTIONS):
            sentences = [" ".join(chance.choices(words, k=11)).capitalize() + "." for _ in range(WORDS // 11)]
            text.append(f"## Section {section} of {number}\n\n{' '.join(sentences)}\n")
        (folder / f"{number}.md").write_text("\n".join(text), encoding="utf-8")


def run(folder: Path, file: Path) -> tuple[float, Report]:
    """One run as `mainstay index` does it: seconds, and what it found."""
    began = time.perf_counter()
    index = SqliteIndex(file)
    report = asyncio.run(refresh(Knowledge(name="pages", reader=Folder(name="pages", path=str(folder)), index=index)))
    index.close()
    return time.perf_counter() - began, report


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, file = Path(place, "pages"), Path(place, "pages.db")
        folder.mkdir()
        write(folder)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(f"{PAGES} Markdown pages, {size / 1e6:.1f} MB")
        used = time.process_time()
        seconds, report = run(folder, file)
        kept = f"{report.passages} passages, {file.stat().st_size / 1e6:.1f} MB of index"
        print(f"from nothing   {seconds:6.2f} s, {time.process_time() - used:.1f} s of processor   {kept} (aim: under 20 s)")
        seconds, report = run(folder, file)
        print(f"unchanged      {seconds:6.2f} s   {report.unchanged} documents looked at")
        (folder / "0.md").write_text("# Page 0\n\nChanged.\n")
        seconds, report = run(folder, file)
        print(f"one changed    {seconds:6.2f} s   {len(report.changed)} document made anew")


if __name__ == "__main__":
    main()
