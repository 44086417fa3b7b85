"""Databases that are only read: every one keeps the promises of its seam, and nothing that is asked of one can write or hang."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import apsw
import pytest

from mainstay import registry
from mainstay.core.errors import ConfigError, SourceError
from mainstay.core.project import Service
from mainstay.parts.databases.sqlite import SQLite
from mainstay.testing import check_database

TABLES = """
    create table products (sku text primary key, price real, name text);
    insert into products values ('A', 12.5, 'Lamp'), ('B', 7, 'Chair');
    create view names as select name from products;
    create virtual table notes using fts5(text);
    insert into notes values ('a red lamp');
"""
NUMBERS = "with recursive n(i) as (select 1 union all select i + 1 from n{}) select i from n"
ATTACKS = [
    "delete from products",
    "update products set price = 0",
    "insert into products values ('C', 1, 'x')",
    "with x as (select 1) delete from products",
    "drop table products",
    "create table other (a)",
    "create temp table other (a)",
    "attach 'other.db' as other",
    "vacuum into 'other.db'",
    "pragma table_info(products)",
    "pragma query_only = 0",
    "select * from pragma_table_info('products')",
    "select * from sqlite_schema",
    "select name from sqlite_master",
    "select load_extension('x')",
    "begin",
    "explain select 1",
    "select 1; delete from products",
    "select 1 /* ; */; select 2",
]


def written(path: Path) -> Path:
    """A shop's database."""
    db = apsw.Connection(str(path))
    db.execute(TABLES)
    db.close()
    return path


@pytest.fixture
def shop(tmp_path: Path) -> SQLite:
    return SQLite(Service(name="shop", kind="sqlite", path=str(written(tmp_path / "shop.db"))))


async def test_every_database_keeps_the_promises_of_its_seam(shop):
    """Whichever engine holds the facts, a statement reads, is bounded, and cannot write."""
    assert set(registry.offered("databases")) == {"sqlite"}, "a new one goes through this suite too"
    await check_database(
        shop,
        reads="select sku, price from products where sku = :sku",
        values={"sku": "A"},
        row=("A", 12.5),
        many=NUMBERS.format(" where i < 20"),
        writes=ATTACKS,
        hangs=NUMBERS.format("").replace("select i from n", "select max(i) from n"),
    )


@pytest.mark.parametrize("statement", ATTACKS)
async def test_what_is_more_than_reading_is_refused_and_does_nothing(shop, statement, tmp_path):
    """A statement in a file, or one that a model wrote, can change nothing, look at no schema and reach no other file."""
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SourceError) as caught:
        await shop.query(statement, {}, limit=5, timeout=2.0)
    assert caught.value.where == "database shop" and caught.value.next
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


async def test_views_full_text_and_comments_are_read(shop):
    """What only reads is not refused: a view, a full-text search, a comment behind the statement."""
    assert (await shop.query("select name from names order by 1; -- all", {}, limit=5, timeout=2.0)).rows == (
        ("Chair",),
        ("Lamp",),
    )
    found = await shop.query("select text from notes where notes match :word", {"word": "red"}, limit=5, timeout=2.0)
    assert found.rows == (("a red lamp",),)
    assert (await shop.query("select sku as id from products where 0", {}, limit=5, timeout=2.0)).columns == ("id",)


async def test_statements_that_hang_do_not_hold_up_others(shop):
    """A hanging statement costs its own time only: others are answered meanwhile, and its thread is gone afterwards."""
    hanging = NUMBERS.format("").replace("select i from n", "select max(i) from n")
    slow = [asyncio.create_task(shop.query(hanging, {}, limit=1, timeout=0.5)) for _ in range(3)]
    began = time.monotonic()
    assert (await shop.query("select 1", {}, limit=1, timeout=5.0)).rows == ((1,),)
    assert time.monotonic() - began < 5
    for task in slow:
        with pytest.raises(SourceError, match=r"stopped after 0\.5 s"):
            await task
    end = time.monotonic() + 10
    while any(thread.name.startswith("mainstay-database") for thread in threading.enumerate()):
        assert time.monotonic() < end, "the statement still runs"
        await asyncio.sleep(0.02)


async def test_who_leaves_stops_the_statement(shop):
    """A call that is given up leaves no statement running until its time is over."""
    hanging = NUMBERS.format("").replace("select i from n", "select max(i) from n")
    asked = asyncio.create_task(shop.query(hanging, {}, limit=1, timeout=60.0))
    await asyncio.sleep(0.1)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    end = time.monotonic() + 10
    while any(thread.name.startswith("mainstay-database") for thread in threading.enumerate()):
        assert time.monotonic() < end, "the statement still runs"
        await asyncio.sleep(0.02)


async def test_a_lock_is_waited_for_and_then_given_up(shop, tmp_path):
    """A writer that holds the file makes a reader late, not wrong."""
    writer = apsw.Connection(str(tmp_path / "shop.db"))
    writer.execute("begin exclusive")
    with pytest.raises(SourceError):
        await shop.query("select 1 from products", {}, limit=1, timeout=0.2)
    writer.execute("commit")
    writer.close()
    assert (await shop.query("select count(*) from products", {}, limit=1, timeout=5.0)).rows == ((2,),)


async def test_a_file_that_is_replaced_is_read_anew(shop, tmp_path):
    """A nightly export that moves a new file into place is seen at once, and a file that is gone is a clear error."""
    assert (await shop.query("select count(*) from products", {}, limit=1, timeout=5.0)).rows == ((2,),)
    other = written(tmp_path / "new.db")
    db = apsw.Connection(str(other))
    db.execute("delete from products where sku = 'B'")
    db.close()
    other.replace(tmp_path / "shop.db")
    assert (await shop.query("select count(*) from products", {}, limit=1, timeout=5.0)).rows == ((1,),)
    (tmp_path / "shop.db").unlink()
    with pytest.raises(SourceError, match="cannot be opened"):
        await shop.query("select count(*) from products", {}, limit=1, timeout=5.0)


async def test_what_cannot_be_a_database_is_said(tmp_path):
    """A file that is none, and a path that leads nowhere, are errors that say what to do."""
    with pytest.raises(ConfigError, match="needs the `path`"):
        SQLite(Service(name="shop", kind="sqlite"))
    with pytest.raises(ConfigError, match="there is no file"):
        SQLite(Service(name="shop", kind="sqlite", path=str(tmp_path / "gone.db")))
    with pytest.raises(ConfigError, match="no options"):
        SQLite(Service(name="shop", kind="sqlite", path=str(tmp_path), options={"wal": True}))
    (tmp_path / "text.db").write_text("this is no database, but it is long enough to be read as one" * 20)
    broken = SQLite(Service(name="shop", kind="sqlite", path=str(tmp_path / "text.db")))
    with pytest.raises(SourceError, match="cannot be read"):
        await broken.query("select 1 from x", {}, limit=1, timeout=1.0)
