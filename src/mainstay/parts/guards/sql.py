"""`sql`: answers that are SQL, confined to some tables, limited, and tried on a read-only connection before anybody sees them.

The statement is parsed (sqlglot), walked through, and written anew: what is shown, and what the database is asked, is what was
understood, without comments. It has to be one SELECT without anything that writes, locks or calls a function that is not on the
list; from the `tables` that are named, and `columns` of them, if some are; with at most `limit` rows. Then it runs, in `timeout`.
What the database says against it is told to the model, which may try again; anything forbidden is `unsafe_output`.

A view counts as the table that it is called like: what stands behind it is the team's affair. With `columns`, `*` is not
accepted, and a name of one's own (`as total`) only where no table could have a column called so.

Limits: the statement is confined, not understood: that it answers the question is not known here. The time-out bounds the trial,
not what is done with the statement afterwards.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta, Struct

from mainstay.core.draft import ALLOW, Draft, Verdict, refuse, replace, retry
from mainstay.core.errors import ConfigError, SourceError
from mainstay.core.reasons import Reason
from mainstay.core.seams import Database, Hold
from mainstay.core.units import Seconds

LONGEST = 20_000  # characters of a statement
DEEPEST = 100  # brackets in brackets
FUNCTIONS = frozenset(
    """abs avg sum min max count round floor ceil ceiling sign mod power sqrt total coalesce nullif ifnull iif if lower upper
    length char_length substr substring trim ltrim rtrim replace concat concat_ws instr strpos str_position left right lpad
    rpad initcap like glob cast try_cast case exists and or xor not any all date time datetime timestamp strftime julianday
    unixepoch current_date current_time current_timestamp extract date_part date_trunc timestamp_trunc date_add date_sub
    date_diff datediff year month day quarter week day_of_week time_to_str ts_or_ds_to_date ts_or_ds_to_timestamp ts_or_ds_add
    group_concat string_agg array_agg row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value
    nth_value stddev variance median json_extract json_extract_scalar greatest least between in is""".split()
)
_FENCE = re.compile(r"\A\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    tables: Annotated[tuple[str, ...], Meta(min_length=1, description="The tables and views that may be read.")]
    database: Annotated[str, Meta(description="The name of a database in mainstay.toml, on which the statement is tried.")]
    columns: Annotated[
        tuple[str, ...], Meta(description="The columns that may be read: `total`, or `orders.total`; by default all.")
    ] = ()
    limit: Annotated[int, Meta(ge=1, description="The most rows that a statement may give.")] = 100
    dialect: Annotated[str, Meta(description="The dialect of SQL, as sqlglot calls it.")] = "sqlite"
    timeout: Annotated[Seconds, Meta(description="How long the trial may take.")] = Seconds(2)
    field: Annotated[str | None, Meta(description="Where the answer is data: the field that holds the statement.")] = None


class Forbidden(ValueError):
    """The statement does what it may not."""


class Unread(ValueError):
    """The text is no statement."""


class Sql:
    """The guard. It sees the whole statement before anything of it leaves."""

    hold = Hold.WHOLE
    options = Options

    def __init__(
        self,
        *,
        tables: tuple[str, ...],
        database: Database,
        columns: tuple[str, ...] = (),
        limit: int = 100,
        dialect: str = "sqlite",
        timeout: float = 2.0,
        field: str | None = None,
    ) -> None:
        try:
            import sqlglot
        except ImportError:
            raise ConfigError("the guard `sql` needs sqlglot", next='pip install "mainstay[guards]"') from None
        logging.getLogger("sqlglot").setLevel(logging.ERROR)  # its warnings quote what a model wrote
        if dialect not in sqlglot.Dialect.classes:
            raise ValueError(f'sqlglot knows no dialect "{dialect}"')
        if not hasattr(database, "query"):
            raise ValueError("`database` names a database of mainstay.toml")
        self._confined = _Confined(tables, columns, limit, dialect)
        self._database, self._limit, self._timeout, self._field = database, limit, timeout, field

    async def check(self, draft: Draft) -> Verdict:
        """Let the statement pass as it was written anew, have it written again, or refuse it."""
        if draft.stage == "input" or not draft.complete:
            return ALLOW
        text = self._statement_of(draft)
        if draft.by_team and (text is None or not self._confined.is_statement(text)):
            return ALLOW
        if text is None:
            return refuse(Reason.UNSAFE_OUTPUT, "the answer is data, and no text in `field` is its statement")
        try:
            statement = self._confined.rewritten(text)
            await self._database.query(statement, {}, limit=self._limit, timeout=self._timeout)
        except Unread as error:
            return retry(Reason.UNSAFE_OUTPUT, f"the SQL cannot be read: {error}")
        except Forbidden as error:
            return refuse(Reason.UNSAFE_OUTPUT, f"the statement may not be run: {error}")
        except SourceError as error:
            return retry(Reason.UNSAFE_OUTPUT, f"the database says: {error.what}")
        if statement == text:
            return ALLOW
        return replace(text=statement) if draft.data is None else replace(data={**draft.data, self._field: statement})

    def _statement_of(self, draft: Draft) -> str | None:
        """The text that is the statement; None where data holds none."""
        if draft.data is None:
            return draft.text
        found = draft.data.get(self._field) if isinstance(draft.data, dict) and self._field is not None else None
        return found if isinstance(found, str) else None


class _Confined:
    """What statements may be, and how they are written anew."""

    def __init__(self, tables: tuple[str, ...], columns: tuple[str, ...], limit: int, dialect: str) -> None:
        self._tables = frozenset(name.casefold() for name in tables)
        self._columns = frozenset(name.casefold() for name in columns)
        self._limit, self._dialect = limit, dialect

    def is_statement(self, text: str) -> bool:
        """Whether this is SQL at all: a fixed message is not."""
        from sqlglot import exp

        try:
            found = self._parsed(text)
        except Unread:
            return False
        return any(isinstance(tree, exp.Query | exp.DML | exp.DDL | exp.Command) for tree in found)

    def rewritten(self, text: str) -> str:
        """The statement as it may be run. Raises `Forbidden` and `Unread`."""
        from sqlglot import exp

        found = self._parsed(text)
        if len(found) != 1:
            raise Forbidden("there is more than one statement" if found else "there is no statement")
        tree = found[0]
        if not isinstance(tree, exp.Select | exp.SetOperation):
            raise Forbidden("only one SELECT may be run")
        for node in tree.walk():
            self._check(node)
        self._limited(tree)
        try:
            return str(tree.sql(dialect=self._dialect, comments=False))
        except RecursionError:
            raise Unread("it is nested too deeply") from None

    def _parsed(self, text: str) -> list[Any]:
        import sqlglot
        from sqlglot.errors import SqlglotError

        fence = _FENCE.match(text)
        text = (fence[1] if fence else text).strip()
        if len(text) > LONGEST or _deep(text) > DEEPEST:
            raise Unread("it is too long, or nested too deeply")
        if _CONTROL.search(text):
            raise Unread("it holds characters that nobody sees")
        try:
            found = sqlglot.parse(text, read=self._dialect)
        except (SqlglotError, RecursionError, ValueError) as error:
            errors = getattr(error, "errors", None)
            said = errors[0].get("description") if errors else type(error).__name__
            raise Unread(str(said)[:200]) from None
        return [tree for tree in found if tree is not None]

    def _check(self, node: Any) -> None:
        """Raises `Forbidden` for a part of a statement that may not stand in one."""
        from sqlglot import exp

        forbidden = (
            exp.DML,
            exp.DDL,
            exp.Command,
            exp.Into,
            exp.Lock,
            exp.Pragma,
            exp.Placeholder,
            exp.Parameter,
            exp.SessionParameter,
            exp.ObjectIdentifier,
            exp.PseudoType,
        )
        if isinstance(node, forbidden) and not isinstance(node, exp.Query):
            raise Forbidden(f"it holds {node.key.upper()}")
        if isinstance(node, exp.DataType) and node.this is exp.DataType.Type.USERDEFINED:
            raise Forbidden("it names a type that is not one of SQL's own")
        if isinstance(node, exp.Table):
            self._check_table(node)
        elif isinstance(node, exp.Func):
            name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
            if name.casefold() not in FUNCTIONS:
                raise Forbidden(f"the function {name} is not on the list")
        elif isinstance(node, exp.Column):
            self._check_column(node)
        elif isinstance(node, exp.Star):
            if self._columns and not isinstance(node.parent, exp.Count):
                raise Forbidden("`*` stands for columns that may not be read")
        elif isinstance(node, exp.Join) and self._columns:
            self._check_join(node)

    def _check_table(self, table: Any) -> None:
        from sqlglot import exp

        if not isinstance(table.this, exp.Identifier):
            raise Forbidden("it reads from a function")
        if table.args.get("when") or table.args.get("version") or table.args.get("changes"):
            raise Forbidden("it reads another version of a table")
        name = ".".join(part.name for part in table.parts).casefold()
        if name not in self._tables and not (len(table.parts) == 1 and self._names_cte(table)):
            raise Forbidden(f"the table {name} is not on the list")

    def _names_cte(self, table: Any) -> bool:
        """Whether a name is that of a WITH that stands before it; in any other place it could be a table's."""
        from sqlglot import exp

        wanted, inside = self._identity(table.this), table
        for above in _above(table):
            if isinstance(above, exp.CTE):
                inside = above
            clause = above.args.get("with_") or above.args.get("with") if isinstance(above, exp.Query) else None
            if clause is None:
                continue
            known = clause.expressions
            place = next((i for i, cte in enumerate(known) if cte is inside), len(known))
            before = known[: place + 1] if clause.args.get("recursive") else known[:place]
            if any(self._identity(cte.args["alias"].this) == wanted for cte in before):
                return True
        return False

    def _identity(self, identifier: Any) -> str:
        """What a name is compared as: quoted ones keep their case, but in SQLite."""
        name = str(identifier.name)
        return name if identifier.args.get("quoted") and self._dialect != "sqlite" else name.casefold()

    # Columns

    def _check_column(self, column: Any) -> None:
        if not self._columns or self._listed(column) or self._own_name(column):
            return
        raise Forbidden(f"the column {column.name} is not on the list")

    def _listed(self, column: Any) -> bool:
        name = str(column.name).casefold()
        if name in self._columns:
            return True
        if not column.table:
            return any(known.endswith(f".{name}") for known in self._columns) and self._only_listed_tables(column, name)
        return f"{self._table_of(column)}.{name}" in self._columns

    def _table_of(self, column: Any) -> str:
        """The table behind the alias of a column."""
        from sqlglot import exp

        for select in (above for above in _above(column) if isinstance(above, exp.Select)):
            for table in _sources(select):
                if table.alias_or_name.casefold() == column.table.casefold():
                    return ".".join(part.name for part in table.parts).casefold() if isinstance(table, exp.Table) else ""
        return ""

    def _only_listed_tables(self, column: Any, name: str) -> bool:
        """Whether a column without its table can only be one that is listed: every table around it has it on the list."""
        from sqlglot import exp

        selects = [above for above in _above(column) if isinstance(above, exp.Select)]
        tables = [
            table
            for select in selects
            for table in _sources(select)
            if isinstance(table, exp.Table) and not self._names_cte(table)
        ]
        return all(f"{'.'.join(part.name for part in table.parts).casefold()}.{name}" in self._columns for table in tables)

    def _own_name(self, column: Any) -> bool:
        """Whether it is a name that the statement itself gave, in a place where no table's column could be meant."""
        from sqlglot import exp

        selects = [above for above in _above(column) if isinstance(above, exp.Select)]
        if not selects:
            return False
        if isinstance(column.parent, exp.Ordered) and not column.table and column.find_ancestor(exp.Select) is _ordered(column):
            return any(isinstance(e, exp.Alias) and e.alias.casefold() == column.name.casefold() for e in selects[0].expressions)
        return not any(isinstance(t, exp.Table) and not self._names_cte(t) for select in selects for t in _sources(select))

    def _check_join(self, join: Any) -> None:
        if join.args.get("method"):
            raise Forbidden("a natural join compares columns that are not named")
        for name in join.args.get("using") or ():
            if not any(known.rpartition(".")[2] == name.name.casefold() for known in self._columns):
                raise Forbidden(f"the column {name.name} is not on the list")

    def _limited(self, tree: Any) -> None:
        """At most so many rows, whatever it says itself."""
        from sqlglot import exp

        limit = tree.args.get("limit")
        given = limit.args.get("expression") if isinstance(limit, exp.Limit) else None
        if isinstance(given, exp.Literal) and not given.is_string and given.name.isdigit() and int(given.name) <= self._limit:
            return
        tree.set("limit", exp.Limit(expression=exp.Literal.number(self._limit)))


def _above(node: Any) -> Iterator[Any]:
    while (node := node.parent) is not None:
        yield node


def _ordered(column: Any) -> Any:
    """What a column puts in order, if it does so by itself."""
    order = column.parent.parent
    return None if order is None else order.parent


def _sources(select: Any) -> Iterator[Any]:
    """What a SELECT reads from: tables, and statements in brackets."""
    clause = select.args.get("from_") or select.args.get("from")
    if clause is not None:
        yield clause.this
    for join in select.args.get("joins") or ():
        yield join.this


def _deep(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest
