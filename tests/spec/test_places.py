"""Errors name the line on which the fault stands, however the file is written."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstay.spec.places import dotted, places

WRITTEN = '''\
# a comment with [brackets] and key = "value"
top = 1
"quoted key" = 2
'literal.key' = 3
a.b.c = 4          # a dotted key

text = """
[[not.a.table]]
not_a_key = 1
""" # behind it
more = \'\'\'
[neither]
it''s\'\'\'
escaped = "a \\" [x] = 'y' # z"

[table]
key = [
  1, # one
  "]",
  [ 2,
    3 ],
  { inner = 4, "x y" = [5] },
]
[[rows]]
name = "first"
[rows.below]
key = 1
[[rows.below_many]]
key = 1
[[rows.below_many]]
key = 2
[[rows]]
name = "second"
[[rows.below_many]]
key.sub = 3
["odd ] name".'x']
key = { a = 1, b.c = "}" }
'''


def test_every_place_has_its_line():
    """Nested arrays of tables, dotted and quoted keys, multi-line strings and arrays, and inline tables all count right."""
    found = places(WRITTEN)
    expected = {
        ("top",): 2,
        ("quoted key",): 3,
        ("literal.key",): 4,
        ("a",): 5,
        ("a", "b", "c"): 5,
        ("text",): 7,
        ("more",): 11,
        ("escaped",): 14,
        ("table",): 16,
        ("table", "key"): 17,
        ("table", "key", 0): 18,
        ("table", "key", 1): 19,
        ("table", "key", 2): 20,
        ("table", "key", 2, 1): 21,
        ("table", "key", 3): 22,
        ("table", "key", 3, "inner"): 22,
        ("table", "key", 3, "x y", 0): 22,
        ("rows", 0): 24,
        ("rows", 0, "name"): 25,
        ("rows", 0, "below"): 26,
        ("rows", 0, "below", "key"): 27,
        ("rows", 0, "below_many", 0): 28,
        ("rows", 0, "below_many", 0, "key"): 29,
        ("rows", 0, "below_many", 1): 30,
        ("rows", 0, "below_many", 1, "key"): 31,
        ("rows", 1): 32,
        ("rows", 1, "name"): 33,
        ("rows", 1, "below_many", 0): 34,
        ("rows", 1, "below_many", 0, "key", "sub"): 35,
        ("odd ] name",): 36,
        ("odd ] name", "x"): 36,
        ("odd ] name", "x", "key"): 37,
        ("odd ] name", "x", "key", "b", "c"): 37,
    }
    assert {place: found.get(place) for place in expected} == expected
    assert ("not_a_key",) not in found and ("neither",) not in found


def every_place(value: object, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in data."""
    if isinstance(value, dict):
        return [place, *(p for key, inner in value.items() for p in every_place(inner, (*place, key)))]
    if isinstance(value, list):
        return [place, *(p for i, inner in enumerate(value) for p in every_place(inner, (*place, i)))]
    return [place]


KEYS = st.sampled_from(["a", "b-1", '"q u"', "'l.t'", '"#"', '"]"', '"="', 'x."y z"', "1.2"])
VALUES = st.recursive(
    st.sampled_from(
        [
            "1",
            "-0.5e3",
            "true",
            "2020-01-01T00:00:00Z",
            '"s"',
            "'#'",
            '"\\"]"',
            '"""\n[t]\nk = 1\n"""',
            "'''\n[[t]]\n'''",
            '""""x"""""',
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[\n " + ", # c\n ".join(items) + "\n]"),
        st.lists(inner.filter(lambda text: "\n" not in text), max_size=2).map(
            lambda items: "{" + ", ".join(f"k{i} = {item}" for i, item in enumerate(items)) + "}"
        ),
    ),
    max_leaves=5,
)
HEADERS = st.sampled_from(["[t1]", "[[r]]", "[r.s]", "[[r.m]]", "[r.m.n]", "['q.q']", '[ t2 . "x" ]', "[[ u . v ]]"])
LINES = st.one_of(st.tuples(KEYS, VALUES).map(" = ".join), HEADERS, st.just("# [c] = 1"), st.just(""))


@given(st.lists(LINES, max_size=12))
def test_whatever_toml_is_read_has_lines_for_all_of_it(lines):
    """No text that the parser accepts makes the walk fail or leaves a key without its line, and the line holds the key."""
    text = "\n".join(lines)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = places(text)
    assert set(every_place(data)) - {()} <= found.keys()
    written = text.split("\n")
    for place, line in found.items():
        if isinstance(place[-1], str):
            assert place[-1] in written[line - 1]


@pytest.mark.parametrize(
    ("place", "shown"), [((), ""), (("a", 0, "b"), "a[0].b"), (("a b", "c.d"), "'a b'.'c.d'"), ((0,), "[0]")]
)
def test_a_place_is_shown_as_toml_writes_it(place, shown):
    """What an error shows can be searched for in the file."""
    assert dotted(place) == shown
