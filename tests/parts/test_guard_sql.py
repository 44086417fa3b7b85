"""The guard `sql`: what a model wrote is confined, limited and tried before anybody sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apsw
import pytest

from mainstay.core.call import Call
from mainstay.core.draft import Draft, Verdict
from mainstay.core.errors import ConfigError
from mainstay.core.project import Service
from mainstay.core.reasons import Reason
from mainstay.parts.databases.sqlite import SQLite
from mainstay.parts.guards.sql import Forbidden, Sql, Unread, _Confined

TABLES = """
    create table orders (id integer, total real, customer text, placed text);
    create table secrets (k text, v text);
    create view totals as select total from orders;
    create view leak as select * from secrets;
    insert into orders values (1, 5, 'a', '2026-01-01'), (2, 7, 'b', '2026-02-01');
"""
GOOD = [
    ("select * from orders", "SELECT * FROM orders LIMIT 100"),
    ("SELECT id FROM orders LIMIT 5", ""),
    ("```sql\nselect count(*) from orders;\n```", "SELECT COUNT(*) FROM orders LIMIT 100"),
    ("select id from orders limit 100000 offset 5", "SELECT id FROM orders LIMIT 100 OFFSET 5"),
    ("select id from orders -- all of them", "SELECT id FROM orders LIMIT 100"),
    ("select id from orders limit (select 1000000)", "SELECT id FROM orders LIMIT 100"),
    ("select id from orders limit -1", "SELECT id FROM orders LIMIT 100"),
    (
        "select total from totals union all select total from orders",
        "SELECT total FROM totals UNION ALL SELECT total FROM orders LIMIT 100",
    ),
    ("with o as (select * from orders) select customer, sum(total) as s from o group by 1 order by s desc", None),
    ("select o.id, row_number() over (order by o.total) as r from orders o join orders p on o.id = p.id", None),
    (
        "select strftime('%Y', placed) as y, round(avg(total), 2) from orders where customer like 'a%' group by y "
        "having count(*) > 0",
        None,
    ),
    ("select case when total > 5 then 'a' else 'b' end from orders where id in (1, 2) and total between 1 and 9", None),
    ("with recursive n(i) as (select 1 union all select i + 1 from n where i < 5) select i from n", None),
    ("select (select max(total) from orders) as m, coalesce(null, 1)", None),
]
FORBIDDEN = [
    "delete from orders",
    "update orders set total = 0",
    "insert into orders values (1, 2, 3, 4)",
    "with x as (delete from orders returning *) select * from x",
    "select * from orders; drop table orders",
    "select 1; select 2",
    "select * into other from orders",
    "select * from orders for update",
    "create table x as select 1",
    "drop table orders",
    "pragma table_info(orders)",
    "attach 'x' as y",
    "vacuum",
    "explain select * from orders",
    "values (1)",
    "sel ect",
    "copy orders to '/tmp/x'",
    "select * from secrets",
    "select * from SECRETS",
    'select * from "secrets"',
    "select * from [secrets]",
    "select * from `secrets`",
    "select * from 'secrets'",
    "select * from leak",
    "select * from main.secrets",
    "select * from main.orders",
    "select * from temp.orders",
    "select * from/**/secrets",
    "select * from orders, secrets",
    "select * from orders join secrets on 1 = 1",
    "select (select v from secrets)",
    "select * from orders where customer in (select k from secrets)",
    "select * from orders union all select k, v, 1, 2 from secrets",
    "select * from orders order by (select v from secrets)",
    "select sum(total) over (partition by (select v from secrets)) from orders",
    "select * from (select * from (select * from secrets))",
    "with orders as (select * from secrets) select * from orders",
    "with secrets as (select * from secrets) select * from secrets",
    "select * from secrets where 1 in (with secrets as (select 1) select * from secrets)",
    "select * from orders a, (with b as (select 1) select * from b) c, b",
    "with a as (select * from secrets), secrets as (select 1) select * from a",
    "select * from sqlite_master",
    "select * from sqlite_schema",
    "select * from information_schema.tables",
    "select * from pg_catalog.pg_user",
    "select * from pragma_table_info('secrets')",
    "select * from json_each('[1]')",
    "select * from generate_series(1, 10)",
    "select load_extension('x')",
    "select readfile('/etc/passwd')",
    "select writefile('a', 'b')",
    "select pg_sleep(10)",
    "select randomblob(100000000)",
    "select zeroblob(10)",
    "select sqlite_version()",
    "select * from orders where id = :id",
    "select * from orders where id = ?",
]
UNREAD = ["select * from orders where id = 1\u200b", "(" * 300 + "select 1" + ")" * 300, "select * from", "select '"]


@pytest.fixture
def shop(tmp_path: Path) -> SQLite:
    db = apsw.Connection(str(tmp_path / "shop.db"))
    db.execute(TABLES)
    db.close()
    return SQLite(Service(name="shop", kind="sqlite", path=str(tmp_path / "shop.db")))


@pytest.fixture
def guard(shop: SQLite) -> Sql:
    return Sql(tables=("orders", "totals"), database=shop, timeout=0.5)


async def said(guard: Sql, text: str, **draft: Any) -> Verdict:
    return await guard.check(Draft(call=Call(id="t", feature="f"), text=text, **draft))


@pytest.mark.parametrize(("text", "rewritten"), GOOD)
async def test_what_reads_the_tables_on_the_list_passes_as_it_was_understood(guard, text, rewritten):
    """Joins, windows, WITH and dates are not in the way; the limit is there whatever the model wrote, and comments are not."""
    verdict = await said(guard, text)
    assert verdict.action == ("allow" if rewritten == "" else "replace"), verdict
    assert rewritten is None or verdict.text == (rewritten or None)
    assert "LIMIT" in (verdict.text or text)


@pytest.mark.parametrize("text", FORBIDDEN)
async def test_what_is_forbidden_is_refused(guard, shop, text):
    """Nothing writes, nothing reaches another table by any spelling, nothing calls what is not on the list."""
    verdict = await said(guard, text)
    assert (verdict.action, verdict.reason) == ("refuse", Reason.UNSAFE_OUTPUT) and verdict.detail
    assert (await shop.query("select count(*) from orders", {}, limit=1, timeout=5.0)).rows == ((2,),)


@pytest.mark.parametrize("dialect", ["postgres", "mysql", "duckdb", "tsql", "bigquery", "snowflake"])
def test_what_is_forbidden_is_so_in_every_dialect(dialect):
    """A project that moves to another database is as confined there."""
    confined = _Confined(("orders", "totals"), (), 100, dialect)
    more = [
        "select * from orders for share",
        "select pg_read_file('/etc/passwd')",
        "select * from dblink('x', 'y')",
        "select query_to_xml('select * from secrets', true, true, '')",
        "select * from lateral (select * from secrets) x",
        'with "Secrets" as (select 1) select * from "secrets"',
        'with "SECRETS" as (select 1 as a) select * from secrets',
        "select * from orders into outfile '/tmp/x'",
        "select load_file('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "exec xp_cmdshell 'x'",
        "select ('secrets'::regclass)::text" if dialect in ("postgres", "duckdb") else "select sleep(9)",
    ]
    for text in [*FORBIDDEN, *more]:
        with pytest.raises((Forbidden, Unread)):
            raise AssertionError(confined.rewritten(text))


@pytest.mark.parametrize("text", UNREAD)
async def test_what_is_no_sql_is_asked_for_again(guard, text):
    """A slip of the model is told to it, before anybody sees it."""
    verdict = await said(guard, text)
    assert (verdict.action, verdict.reason) == ("retry", Reason.UNSAFE_OUTPUT) and "cannot be read" in verdict.remark


async def test_what_the_database_says_is_the_remark(guard):
    """A column that is not there, or a statement that never ends, goes back to the model in the database's words."""
    assert "no such column: nope" in (await said(guard, "select nope from orders")).remark
    bomb = "with recursive c(x) as (select 1 union all select x + 1 from c) select max(x) from c"
    assert "stopped after 0.5 s" in (await said(guard, bomb)).remark


COLUMNS_GOOD = [
    "select id, total from orders",
    "select count(*) from orders",
    "select sum(total) as s from orders order by s",
    "with o as (select total as t from orders) select t from o",
    "select x.q from (select o.id as q from orders as o) as x",
]
COLUMNS_BAD = [
    "select * from orders",
    "select o.* from orders o",
    "select customer from orders",
    "select id from orders where customer = 'a'",
    "select 1 as customer, customer from orders",
    "select id from orders order by customer",
    "select id as customer from orders order by length(customer)",
    "select id as customer from orders group by customer",
    "select orders from orders",
    "select rowid from orders",
    "select id from orders natural join orders o",
    "select id from orders join orders o using (customer)",
    "with o as (select id as customer from orders) select orders.customer from orders, o",
    "select id from orders where exists (select customer from (select 1 as z) q)",
]


@pytest.mark.parametrize("columns", [("id", "total"), ("orders.id", "orders.total")])
async def test_columns_that_are_not_on_the_list_are_not_read(shop, columns):
    """A column is not selected, compared, sorted by or joined on, whatever name the statement gives to something else."""
    guard = Sql(tables=("orders",), columns=columns, database=shop)
    for text in COLUMNS_GOOD:
        assert (await said(guard, text)).action in ("allow", "replace"), text
    for text in COLUMNS_BAD:
        assert (await said(guard, text)).action == "refuse", text


async def test_the_fixed_message_is_no_statement_and_a_rule_s_is(guard):
    """The last rung may say that there is no answer; a rule into which a caller writes is confined like a model."""
    assert (await said(guard, "Sorry, I have no answer to that.", author="team")).action == "allow"
    assert (await said(guard, "Sorry, I have no answer to that.")).action != "allow"
    assert (
        await said(guard, "select * from orders where id = '' union select k, v, 1, 2 from secrets --'", author="team")
    ).action == "refuse"


async def test_structured_answers_say_where_their_statement_is(guard, shop):
    """Data is not let pass unread: without a `field` it is refused."""
    assert (await said(guard, "{}", data={"sql": "select 1"})).action == "refuse"
    reads = Sql(tables=("orders",), database=shop, field="sql")
    verdict = await said(reads, "{}", data={"sql": "select id from orders", "why": "ids"})
    assert verdict.data == {"sql": "SELECT id FROM orders LIMIT 100", "why": "ids"}
    assert (await said(reads, "{}", data={"sql": "delete from orders"})).action == "refuse"
    assert (await said(reads, "{}", data={"why": "none"})).action == "refuse"


# Through the door

SETTINGS = """
    [databases.shop]
    kind = "sqlite"
    path = "shop.db"
    [models.small]
    provider = "scripted"
    options = {{ replies = {}, chunk = 5 }}
"""
FEATURE = """
    summary = "Writes SQL"
    deadline = "3s"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    [[ladder]]
    message = "I cannot look that up."
    [guards]
    output = [{ sql = { OPTIONS } }]
"""


@pytest.mark.parametrize("stream", [True, False])
async def test_a_statement_is_served_as_it_was_tried(opened, shop, tmp_path, stream):
    """The database's complaint goes back to the model, and what is shown is what ran; a forbidden one gives way to the
    message.
    """
    (tmp_path / "project").mkdir()
    (tmp_path / "shop.db").rename(tmp_path / "project" / "shop.db")
    replies = ["select totl from orders", "select total from orders", "select * from secrets"]
    feature = FEATURE.replace("OPTIONS", 'tables = ["orders"], database = "shop"')
    app = opened(SETTINGS.format(json.dumps(replies)), feature)
    first = await app.run("answers", question="?")
    assert (first.status, first.text) == ("answered", "SELECT total FROM orders LIMIT 100")
    asked = app.features.ready["answers"].rungs[0].models[0].provider.requests
    assert "no such column: totl" in asked[1].messages[-1].text
    shown = [event async for event in app.stream("answers", question="?")] if stream else [await app.run("answers", question="?")]
    assert (shown[-1].status, shown[-1].reason, shown[-1].text) == ("degraded", "unsafe_output", "I cannot look that up.")
    assert "secrets" not in repr([event for event in shown if type(event).__name__ == "Text"])


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ('tables = ["orders"]', "the key `database` is missing"),
        ('database = "shop"', "the key `tables` is missing"),
        ('tables = [], database = "shop"', "tables"),
        ('tables = ["orders"], database = "shopp"', 'there is no database "shopp"; did you mean "shop"'),
        ('tables = ["orders"], database = "shop", dialect = "sqlit"', 'sqlglot knows no dialect "sqlit"'),
        ('tables = ["orders"], database = "shop", limit = 0', "limit"),
        ('tables = ["orders"], database = "shop", rows = 1', "unknown key"),
    ],
)
def test_whatever_is_wrong_in_the_file_is_found_at_load(opened, shop, tmp_path, options, what):
    """A guard that could not keep its promise is an error before anything is served."""
    (tmp_path / "project").mkdir()
    (tmp_path / "shop.db").rename(tmp_path / "project" / "shop.db")
    with pytest.raises(ConfigError, match=what):
        opened(SETTINGS.format("[]"), FEATURE.replace("OPTIONS", options))
