"""`mainstay recheck` from end to end: a planted change is found, shown, put to review, and what was cached on it is gone."""

from __future__ import annotations

import asyncio
import html
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import mainstay
from mainstay.core.answer import Answer
from mainstay.doors.cli.main import main

SETTINGS = """
    [models.small]
    provider = "scripted"
    options = { replies = ["You have 30 days, as the help says [1]."] }
    [models.seller]
    provider = "scripted"
    options = { replies = ["It costs 9.99 EUR."] }
    [sources.help]
    path = "help"
    [databases.shop]
    kind = "sqlite"
    path = "shop.db"
"""
QUOTING = """
    summary = "Quotes"
    [grounding]
    sources = ["help"]
    [[ladder]]
    search = "help"
    [[ladder]]
    message = "Sorry."
    [cache]
    keep = "1d"
"""
CITING = """
    summary = "Cites"
    [grounding]
    sources = ["help"]
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    [[ladder]]
    message = "Sorry."
    [cache]
    keep = "1d"
"""
PRICING = """
    summary = "Prices"
    [input]
    question = "text"
    sku = "text"
    [grounding.slots.price]
    database = "shop"
    sql = "select price from products where sku = :sku"
    type = "money"
    unit = "EUR"
    [[ladder]]
    model = "seller"
    prompt = "prompt.md"
    [[ladder]]
    message = "Sorry."
    [cache]
    keep = "1d"
"""
RETURNS = """
    # Returns

    ## How long do I have?

    A parcel can be returned within 30 days. Keep the receipt.

    ## Who pays?

    We pay for the label.
"""
FILES = {
    "help/returns.md": RETURNS,
    "features/cites/feature.toml": CITING,
    "features/cites/prompt.md": "{% for p in passages %}{{ p.text }}{% endfor %} {{ question }}",
    "features/prices/feature.toml": PRICING,
    "features/prices/prompt.md": "{{ slots }} {{ question }} {{ sku }}",
}
QUESTION = "Within how many days can a parcel be returned?"


def shop(root: Path, price: str) -> None:
    with sqlite3.connect(root / "shop.db") as db:
        db.execute("create table if not exists products(sku text primary key, price text)")
        db.execute("insert or replace into products values('A1', ?)", (price,))
    db.close()


@pytest.fixture
def root(project: Callable[..., Path], tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    shop(tmp_path / "project", "9.99")
    return project(SETTINGS, QUOTING, FILES)


def serve(root: Path, feature: str = "answers", times: int = 1, **fields: Any) -> list[Answer]:
    """What a process of its own answers, as often as asked."""

    async def ask() -> list[Answer]:
        async with mainstay.open(root, environ={}, dev=True) as app:
            return [await app.run(feature, {"question": QUESTION, **fields}) for _ in range(times)]

    return asyncio.run(ask())


def edit(root: Path, old: str, new: str) -> None:
    path = root / "help" / "returns.md"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def recheck(root: Path, *options: str) -> tuple[int, Any]:
    done = CliRunner().invoke(main, ["recheck", "-C", str(root), *options, "--json"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    assert done.exit_code in (0, 1), done.output
    return done.exit_code, json.loads(done.stdout)


def said(root: Path) -> bytes:
    """All that the cache's file holds, in whatever table."""
    with sqlite3.connect(root / ".mainstay" / "cache.db") as db:
        rows = db.execute("select value from answers").fetchall()
    db.close()
    return b"".join(value for (value,) in rows)


def scores(root: Path, record: str) -> list[Any]:
    async def read() -> list[Any]:
        async with mainstay.open(root, environ={}, dev=True) as app:
            return await app.scores(record)

    return asyncio.run(read())


def test_what_did_not_change_stands(root: Path) -> None:
    """A recheck that cries wolf is switched off within a week."""
    first, second = serve(root, times=2)
    assert (first.status, second.status) == ("answered", "cached")
    serve(root, "cites")
    code, report = recheck(root)
    assert (code, report["stands"], report.get("findings", []), report["cached"]) == (0, True, [], 2)
    assert report["records"] == 3 and report.get("dropped", 0) == 0 and report["unchanged"] >= 3
    edit(root, "We pay for the label.", "You pay for the label.")  # of the same document, not of what was found or cited
    code, report = recheck(root)
    assert code == 0 and not [f for f in report.get("findings", []) if f.get("serious")]


def test_a_changed_sentence_is_found_shown_reviewed_and_not_served_again(root: Path) -> None:
    """The promise of the whole command, on an answer that was served twice, once from the cache."""
    served = serve(root, times=2)
    assert "30 days" in served[0].text and b"30 days" in said(root)
    edit(root, "within 30 days", "within 14 days")
    code, report = recheck(root)
    assert code == 1 and not report["stands"] and report["answers"] == 2
    found = [f for f in report["findings"] if f["kind"] == "changed"]
    assert {f["record"] for f in found} == {answer.id for answer in served}
    assert [piece for piece in found[0]["diff"] if piece[0] != "same"] == [["gone", "30"], ["new", "14"]]
    assert report["dropped"] == 1 and b"30 days" not in said(root)
    (item,) = [s for s in scores(root, served[0].id) if s.name == "review"]
    assert (item.value, item.who) == ("open", "recheck") and "returns.md#how-long-do-i-have" in item.reason
    (again,) = serve(root)
    assert again.status == "answered" and "14 days" in again.text and "30 days" not in again.text


def test_a_second_run_adds_no_review_item(root: Path) -> None:
    """A nightly job must not open the same item every night."""
    (served,) = serve(root)
    edit(root, "within 30 days", "within 14 days")
    assert recheck(root)[1]["reviews"] == 1
    code, report = recheck(root)
    assert (code, report.get("reviews", 0), report.get("dropped", 0)) == (1, 0, 0)
    assert len(scores(root, served.id)) == 1
    edit(root, "within 14 days", "within 7 days")
    assert recheck(root)[1]["reviews"] == 1, "another change is another item"


def test_a_deleted_file_and_a_moved_section_are_told_apart(root: Path) -> None:
    """What is gone has to be taken back; what only moved needs its link mended."""
    serve(root)
    path = root / "help" / "returns.md"
    (root / "help" / "policy.md").write_text(path.read_text().replace("# Returns", "# Policy"))
    path.unlink()
    code, report = recheck(root)
    assert code == 0
    (found,) = report["findings"]
    assert found["kind"] == "moved" and "policy.md#how-long-do-i-have" in found["what"]
    (root / "help" / "policy.md").write_text("# Policy\n\nNothing is taken back.\n")
    code, report = recheck(root)
    assert code == 1
    kinds = {f["kind"] for f in report["findings"]}
    assert kinds == {"deleted"}
    assert [p for f in report["findings"][:1] for p in f["diff"]] == [
        ["gone", "A parcel can be returned within 30 days. Keep the receipt."]
    ]
    assert report["dropped"] == 1


def test_an_answer_of_a_model_is_compared_with_what_the_passage_said(root: Path) -> None:
    """A model writes words of its own: what its passage said then is known from the cache, sentence for sentence."""
    (served,) = serve(root, "cites")
    assert served.citations and served.text not in RETURNS
    edit(root, "within 30 days", "within 14 days")
    code, report = recheck(root)
    (found,) = [f for f in report["findings"] if f.get("serious")]
    assert code == 1 and found["kind"] == "changed" and "You have 30 days" in found["said"]
    assert [piece for piece in found["diff"] if piece[0] != "same"] == [["gone", "30"], ["new", "14"]]


def test_a_recheck_remembers_what_passages_said(root: Path) -> None:
    """Night after night: an answer that is in no cache any more is compared with what the last recheck saw."""
    serve(root, "cites")
    assert recheck(root)[0] == 0
    (root / ".mainstay" / "cache.db").unlink()
    edit(root, "within 30 days. Keep", "within 14 days. Burn")
    code, report = recheck(root)
    assert code == 1
    assert [p[1] for p in report["findings"][0]["diff"] if p[0] != "same"] == ["30", "14", "Keep", "Burn"]


def test_what_was_changed_around_a_quotation_is_no_alarm(root: Path) -> None:
    """The quoted sentence is still there, so the answer holds; that its passage changed is said all the same."""
    edit(
        root,
        "We pay for",
        "\n\n".join(f"Paragraph {i} is about labels of parcels that come back." for i in range(12)) + " We pay for",
    )
    (served,) = serve(root, question="Who pays for the label?")
    assert "We pay" in served.text and "Paragraph 3" not in served.text
    edit(root, "Paragraph 3 is", "Paragraph three is")
    code, report = recheck(root)
    assert code == 0
    assert [f["kind"] for f in report["findings"]] == ["edited"]


def test_a_fact_that_changed_is_found_and_its_answer_dropped(root: Path) -> None:
    """A price that the model was told is fetched again, and compared as money."""
    (served,) = serve(root, "prices", sku="A1")
    shop(root, "9.990")
    assert recheck(root)[0] == 0, "the same money, written otherwise"
    shop(root, "12.50")
    code, report = recheck(root)
    (found,) = report["findings"]
    assert code == 1 and found["record"] == served.id and found["what"] == "price was 9.99 EUR and is 12.50 EUR now"
    assert report["dropped"] == 1
    with sqlite3.connect(root / "shop.db") as db:
        db.execute("drop table products")
    db.close()
    code, report = recheck(root)
    assert code == 0 and [f["kind"] for f in report["findings"]] == ["unfetched"]


def test_a_source_is_read_as_it_is_now_whatever_its_index_says(root: Path) -> None:
    """A query is indexed by hand: what its rows say now counts, the index is called behind, and it is left as it was."""
    with (root / "mainstay.toml").open("a") as file:
        file.write('[sources.rows]\nkind = "sql"\ndatabase = "shop"\noptions = { query = "select id, text from notes" }\n')
    feature = root / "features" / "answers" / "feature.toml"
    feature.write_text(feature.read_text().replace('"help"', '"rows"'))

    def note(text: str) -> None:
        with sqlite3.connect(root / "shop.db") as db:
            db.execute("create table if not exists notes(id text primary key, text text)")
            db.execute("insert or replace into notes values('n1', ?)", (text,))
        db.close()

    note("A parcel can be returned within 30 days.")
    assert CliRunner().invoke(main, ["index", "-C", str(root), "rows"]).exit_code == 0
    (served,) = serve(root)
    assert "30 days" in served.text
    note("A parcel can be returned within 14 days.")
    for _ in range(2):
        code, report = recheck(root)
        assert code == 1 and [f["kind"] for f in report["findings"]] == ["changed"]
        (lag,) = [lag for lag in report["lags"] if lag["source"] == "rows"]
        assert lag["changed"] == ["n1"] and not lag.get("mended")
    assert CliRunner().invoke(main, ["index", "-C", str(root), "rows", "--check"]).exit_code == 1, "nothing was written"


def test_the_record_of_a_cached_answer_says_what_it_rests_on(root: Path) -> None:
    """An answer from the cache was shown to somebody too: its record names the passages, with what each said."""

    async def found() -> list[Any]:
        async with mainstay.open(root, environ={}, dev=True) as app:
            answers = [await app.run("cites", question=QUESTION) for _ in range(2)]
            assert answers[1].status == "cached"
            return [(await app.record(answer.id)).outcome.passages for answer in answers]  # type: ignore[union-attr]

    first, second = asyncio.run(found())
    assert first == second and all(passage.digest for passage in first)


def test_what_is_asked_again_is_compared(root: Path) -> None:
    """With --replay the live release answers the newest once more, outside the cache and of no user's record."""
    serve(root)
    edit(root, "within 30 days", "within 14 days")
    _, report = recheck(root, "--replay", "5")
    (found,) = [f for f in report["findings"] if f["kind"] == "replayed"]
    assert "the text differs" in found["what"] and ["new", "14"] in found["diff"]
    assert report["replayed"] == 1
    assert recheck(root)[1]["records"] == 1, "a replay is nobody's question"


def test_only_what_was_asked_for_is_looked_at(root: Path) -> None:
    """A feature, a time and a number narrow it down; an unknown feature is a usage error with the nearest name."""
    serve(root, "cites")
    serve(root, "answers")
    assert recheck(root, "cites")[1]["features"] == ["cites"]
    assert recheck(root, "--limit", "1")[1]["records"] == 2, "the other one is in the cache, and may be served again"
    done = CliRunner().invoke(main, ["recheck", "-C", str(root), "cite"])
    assert done.exit_code == 2 and "cites" in done.output
    assert CliRunner().invoke(main, ["recheck", "-C", str(root), "--since", "yesterday"]).exit_code == 2


def test_it_is_said_for_people_in_every_form(root: Path, tmp_path: Path) -> None:
    """Text, a page and Markdown all show the change and the answer; nothing in a document is markup in any of them."""
    serve(root)
    edit(root, "within 30 days", "within <b>14</b> `days` | <script>alert(1)</script>")
    page, summary = tmp_path / "out.html", tmp_path / "out.md"
    command = [sys.executable, "-m", "mainstay", "recheck", "-C", str(root), "--html", str(page), "--markdown", str(summary)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("Changed: 1 answer rests on what changed.") and "[-30-]" in done.stdout
    shown = page.read_text()
    assert "<del>30</del>" in shown and "<script>alert" not in shown and "default-src 'none'" in html.unescape(shown)
    markdown = summary.read_text()
    assert "~~30~~" in markdown and "<script>" not in markdown.replace("\\<", "")
    assert summary.read_text().startswith("# Recheck: changed")


def test_a_recheck_is_kept_and_shown_again(root: Path) -> None:
    """What was found on a night can be read in the morning, by its id."""
    serve(root)
    edit(root, "within 30 days", "within 14 days")
    _, report = recheck(root)
    done = CliRunner().invoke(main, ["report", "-C", str(root), report["id"]])
    assert done.exit_code == 0 and "rests on what changed" in done.output and "[-30-]" in done.output
