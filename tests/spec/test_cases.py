"""Cases in files: whatever people get wrong has file, line and key; what is written is read back the same."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainstay.core.call import Turn
from mainstay.core.case import Case
from mainstay.core.errors import ConfigError
from mainstay.core.evidence import Passage
from mainstay.spec.cases import ORDER, add_cases, new_cases, read_cases, write_cases

SHOWN = "features/support"
Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """`folder(**{"a.jsonl": text})` writes files of cases, as text or bytes, and gives the feature's folder."""

    def make(**files: str | bytes) -> Path:
        (tmp_path / "cases").mkdir()
        for name, content in files.items():
            (tmp_path / "cases" / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path

    return make


def case(**keys: object) -> str:
    return json.dumps({"input": {"question": "How long?"}, **keys})


# What is read


def test_the_files_are_read_by_name_and_their_lines_in_order(folder: Folder):
    """The order of cases, and with it the ids of equal calls, does not depend on the disk."""
    found = folder(**{"b.jsonl": case(id="3"), "a.jsonl": f"{case(id='1')}\n{case(id='2')}\n"})
    assert [case.id for case in read_cases(found, shown=SHOWN)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf{"input": {"q": "\xc3\xa9"}}\n',
        b'\r\n{"input": {"q": "\xc3\xa9"}}\r\n\r\n',
        b'\n\n   \n\t{"input": {"q": "\\u00e9"}}   ',
    ],
    ids=["byte order mark", "Windows line ends", "blank lines and no last line end"],
)
def test_what_editors_do_to_a_file_does_not_matter(folder: Folder, content: bytes):
    """A byte order mark, other line ends, blank lines and a missing last line end change nothing."""
    assert [case.input for case in read_cases(folder(**{"a.jsonl": content}), shown=SHOWN)] == [{"q": "é"}]


def test_a_text_with_other_line_breaks_is_one_case(folder: Folder):
    """U+2028 and U+0085 break lines for Python, not in this format; a pasted text may hold them."""
    text = "one\u2028two\u0085three\x0bfour"
    found = folder(**{"a.jsonl": json.dumps({"input": {"question": text}}, ensure_ascii=False).replace("\x0b", "\\u000b")})
    assert [case.input["question"] for case in read_cases(found, shown=SHOWN)] == [text]


def test_a_feature_without_cases_has_none(tmp_path: Path):
    """No folder, or an empty one, is no error: a new feature has no cases yet."""
    assert read_cases(tmp_path, shown=SHOWN) == []
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "README.md").write_text("Ours.")
    (tmp_path / "cases" / "._a.jsonl").write_bytes(b"\x00\x05\x16\x07")  # as a Mac leaves it on other disks
    assert read_cases(tmp_path, shown=SHOWN) == []


def test_cases_without_an_id_are_called_after_their_call(folder: Folder, tmp_path: Path):
    """An id stays the same when lines are moved, and two equal calls are told apart."""
    found = folder(**{"a.jsonl": f"{case()}\n{case(expect={'exact': '30 days'})}\n"})
    first, second = (case.id for case in read_cases(found, shown=SHOWN))
    assert second == f"{first}~2" and len(first) == 10
    (tmp_path / "cases" / "0.jsonl").write_text(json.dumps({"input": {"question": "another"}}))
    assert [case.id for case in read_cases(found, shown=SHOWN)][1:] == [first, second]


# What is wrong

SLIPS = {
    "an unknown key": ('{"input": {}, "expct": {}}', 'a.jsonl:2 expct: unknown key; did you mean "expect"?'),
    "no input": ('{"expect": {"exact": "x"}}', "a.jsonl:2: the key `input` is missing"),
    "an input that is a text": ('{"input": "How long?"}', "a.jsonl:2 input: expected an object, got a string"),
    "a list of expectations": ('{"input": {}, "expect": ["x"]}', "a.jsonl:2 expect: expected an object, got an array"),
    "must in quotes": ('{"input": {}, "must": "yes"}', "a.jsonl:2 must: expected true or false, got a string"),
    "a category of null": ('{"input": {}, "category": null}', "a.jsonl:2 category: expected a string, got null"),
    "a number as a tag": ('{"input": {}, "tags": {"tier": 3}}', "a.jsonl:2 tags.tier: expected a string, got an integer"),
    "a tag called category": (
        '{"input": {}, "tags": {"category": "x"}}',
        "a.jsonl:2 tags.category: `category` is a key of the case",
    ),
    "an expectation of null": ('{"input": {}, "expect": {"exact": null}}', "a.jsonl:2 expect.exact: `null` expects nothing"),
    "not- and no name": ('{"input": {}, "expect": {"not-": "x"}}', "a.jsonl:2 expect.not-: a scorer's name is missing"),
    "a turn as OpenAI writes it": (
        '{"input": {}, "history": [{"role": "user", "content": "Hi"}]}',
        "a.jsonl:2 history[0].content: unknown key; known: role, text",
    ),
    "a system turn": ('{"input": {}, "history": [{"role": "system", "text": "x"}]}', '"system" is not one of user, assistant'),
    "a passage with a typo": (
        '{"input": {}, "passages": [{"id": "1", "source": "s", "document": "d", "text": "t", "hading": []}]}',
        'a.jsonl:2 passages[0].hading: unknown key; did you mean "heading"?',
    ),
    "half a passage": ('{"input": {}, "passages": [{"id": "1"}]}', "a.jsonl:2 passages[0]: the key `source` is missing"),
    "an id of two lines": ('{"input": {}, "id": "a\\nb"}', "a.jsonl:2 id:"),
    "a key twice": ('{"input": {"a": 1, "a": 2}}', 'a.jsonl:2: the key "a" stands twice'),
    "a comma behind": ('{"input": {}},', "each line holds one whole case"),
    "an array around": ("[", "each line holds one whole case"),
    "a comment": ("# mine", "there are no comments in this format"),
    "Python's quotes": ("{'input': {}}", "a.jsonl:2: not JSON"),
    "a text": ('"How long?"', "a.jsonl:2: expected a case as an object in braces"),
    "not a number": ('{"input": {"n": NaN}}', "a.jsonl:2: this cannot be kept"),
    "a number beyond floats": ('{"input": {"n": 1e999}}', "a.jsonl:2: this cannot be kept"),
    "a number beyond 64 bits": ('{"input": {"n": 99999999999999999999}}', "a.jsonl:2: this cannot be kept"),
    "a number of 5000 digits": ('{"input": {"n": ' + "9" * 5000 + "}}", "a.jsonl:2: not JSON that can be read"),
    "half a character": ('{"input": {"q": "\\ud83d"}}', "a.jsonl:2: this cannot be kept"),
    "half a character in a key": ('{"input": {"\\ud83d": 1}}', "a.jsonl:2: this cannot be kept"),
    "a deep nest": ('{"input": ' + "[" * 100_000, "a.jsonl:2: not JSON that can be read: it is nested more than 100 levels deep"),
    "a nest that closes": ('{"input": {"a": ' + "[" * 20_000 + "]" * 20_000 + "}}", "it is nested more than 100 levels deep"),
    "a nest that Python can read": ('{"input": {"a": ' + "[" * 150 + "]" * 150 + "}}", "it is nested more than 100 levels deep"),
}


@pytest.mark.parametrize(("line", "said"), SLIPS.values(), ids=SLIPS)
def test_a_slip_has_its_line_and_key(folder: Folder, line: str, said: str):
    """Each thing that people get wrong is an error with file, line, key and what was expected."""
    with pytest.raises(ConfigError) as raised:
        read_cases(folder(**{"a.jsonl": f"{case(id='ok')}\n{line}\n{case(id='ok2')}\n"}), shown=SHOWN)
    assert str(raised.value).startswith(f"{SHOWN}/cases/a.jsonl:2")
    assert said in str(raised.value)


def test_the_same_id_in_two_files_names_both_places(folder: Folder):
    """A report could not tell them apart."""
    found = folder(**{"a.jsonl": case(id="x"), "b.jsonl": f"\n{case(id='y')}\n{case(id='x')}"})
    with pytest.raises(ConfigError, match=r'b.jsonl:3 id: the id "x" is taken: features/support/cases/a.jsonl:1 has it'):
        read_cases(found, shown=SHOWN)


def test_an_id_that_looks_like_a_made_up_one_is_found_out(folder: Folder, tmp_path: Path):
    """`~2` is how equal calls are numbered; who writes that must not hide a case behind another."""
    made = read_cases(folder(**{"a.jsonl": case()}), shown=SHOWN)[0].id
    (tmp_path / "cases" / "a.jsonl").write_text(f"{case()}\n{case()}\n{case(id=f'{made}~2')}\n")
    with pytest.raises(ConfigError, match=r"a.jsonl:3 id: the id .* is taken: .*a.jsonl:2 has it"):
        read_cases(tmp_path, shown=SHOWN)


def test_what_is_no_text_and_what_is_no_file_are_said(folder: Folder, tmp_path: Path):
    """Latin-1, and a folder with a file's name, are errors with the place and not tracebacks."""
    with pytest.raises(ConfigError, match=r"a.jsonl:2: the file is not UTF-8"):
        read_cases(folder(**{"a.jsonl": b'{"input": {}}\n{"input": {"q": "caf\xe9"}}'}), shown=SHOWN)
    (tmp_path / "cases" / "a.jsonl").unlink()
    (tmp_path / "cases" / "b.jsonl").mkdir()
    with pytest.raises(ConfigError, match=r"cases/b.jsonl: the file cannot be read"):
        read_cases(tmp_path, shown=SHOWN)


def test_a_file_in_place_of_the_folder_is_said(tmp_path: Path):
    """`cases` as a file is a slip, not "no cases"."""
    (tmp_path / "cases").write_text(case())
    with pytest.raises(ConfigError, match=r"support/cases: this is a file"):
        read_cases(tmp_path, shown=SHOWN)


# What is written

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORD = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
EXPECTED = st.dictionaries(
    WORD.filter(lambda name: name.removeprefix("not-").strip()), JSON.filter(lambda value: value is not None)
)
CASES = st.lists(
    st.builds(
        Case,
        input=st.dictionaries(TEXT, JSON, max_size=3),
        expect=EXPECTED,
        id=WORD,
        category=TEXT,
        language=TEXT,
        tags=st.dictionaries(WORD.filter(lambda name: name not in ("category", "language")), TEXT, max_size=2),
        must=st.booleans(),
        history=st.lists(st.builds(Turn, role=st.sampled_from(["user", "assistant"]), text=TEXT), max_size=2).map(tuple),
        locale=st.none() | TEXT,
        passages=st.none()
        | st.lists(
            st.builds(Passage, id=TEXT, source=TEXT, document=TEXT, text=TEXT, heading=st.lists(TEXT, max_size=2).map(tuple)),
            max_size=2,
        ).map(tuple),
        notes=TEXT,
        source=TEXT,
    ),
    max_size=4,
    unique_by=lambda case: case.id,
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(written=CASES)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, written: list[Case]):
    """Writing and reading gives the same cases, whatever their texts hold, and writing them again the same bytes."""
    root = tmp_path_factory.mktemp("feature")
    path = root / "cases" / "a.jsonl"
    write_cases(path, written)
    assert read_cases(root, shown=SHOWN) == written
    before = path.read_bytes()
    write_cases(path, read_cases(root, shown=SHOWN))
    assert path.read_bytes() == before and before.count(b"\n") == len(written)


def test_keys_are_written_in_one_order_and_without_defaults(tmp_path: Path):
    """A line is short, begins with what a reader looks for, and a diff shows only what changed."""
    case = Case(input={"z": 1, "a": 2}, notes="why", id="1", category="refunds", must=True, expect={"exact": "x"})
    write_cases(tmp_path / "a.jsonl", [case])
    written = '{"id":"1","category":"refunds","input":{"z":1,"a":2},"expect":{"exact":"x"},"must":true,"notes":"why"}\n'
    assert (tmp_path / "a.jsonl").read_text() == written


def test_no_key_of_a_case_is_forgotten_when_it_is_written():
    """A key that is added to `Case` is written, too."""
    assert sorted(ORDER) == sorted(Case.__struct_fields__)


def test_added_cases_leave_what_is_there_to_the_byte(tmp_path: Path):
    """People's own spacing stays, and a last line without an end does not swallow the first added case."""
    path = tmp_path / "cases" / "a.jsonl"
    path.parent.mkdir()
    mine = '{ "input" : {"q": "mine"},  "id": "1" }'
    path.write_text(mine)
    add_cases(path, [Case(input={"q": "new"}, id="2")])
    assert path.read_text() == mine + '\n{"id":"2","input":{"q":"new"}}\n'
    assert [case.id for case in read_cases(tmp_path, shown=SHOWN)] == ["1", "2"]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path):
    """What could not be read again is not written, the file is whole at every moment, and no draft is left behind."""
    path = tmp_path / "a.jsonl"
    write_cases(path, [Case(input={}, id="1")])
    for value in (2**70, float("nan"), "\ud800", {"deep": ["\udfff"]}):
        with pytest.raises(ValueError, match="JSON cannot hold the case"):
            write_cases(path, [Case(input={}, id="2"), Case(input={"value": value})])
    assert path.read_text() == '{"id":"1","input":{}}\n'
    assert [file.name for file in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_written_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path: Path):
    """A file that a team shares does not become private, and a linked one is not cut off."""
    real, link = tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    write_cases(real, [Case(input={})])
    real.chmod(0o664)
    link.symlink_to(real)
    add_cases(link, [Case(input={})])
    assert link.is_symlink() and real.read_text().count("\n") == 2
    assert stat.S_IMODE(real.stat().st_mode) == 0o664


def test_only_new_cases_are_added():
    """An import that is run twice adds nothing the second time; another expectation of the same call is another case."""
    there = [Case(input={"q": "a"}, id="1", expect={"exact": "x"})]
    same = Case(input={"q": "a"}, expect={"exact": "x"}, notes="other notes")
    other, clash = Case(input={"q": "a"}, expect={"exact": "y"}, id="2"), Case(input={"q": "b"}, id="1")
    assert new_cases([same, other, other, clash], there) == [other, Case(input={"q": "b"})]
