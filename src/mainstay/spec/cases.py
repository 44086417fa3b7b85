"""Reads and writes a feature's cases: JSON Lines, one case a line, in the folder `cases` of the feature's own.

Files whose names begin with `train` are apart: what learns from cases learns from them, and no evaluation ever reads them.

What a scorer makes of its expectation is the scorer's affair; here every key, type and id is checked.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mainstay.core.call import Turn
from mainstay.core.case import NOT, Case, named
from mainstay.core.errors import ConfigError, nearest
from mainstay.core.evidence import Passage
from mainstay.spec import documents
from mainstay.spec.documents import Written, quoted
from mainstay.spec.places import Place, dotted

FOLDER = "cases"
SUFFIX = ".jsonl"
DEEPEST = 100  # levels of objects and arrays in one line
TOO_DEEP = f"not JSON that can be read: it is nested more than {DEEPEST} levels deep"
TRAINING = "train"  # how the names of files begin that are learnt from, and never evaluated
# The order in which a case is written: what a reader of the file looks for first.
ORDER = (
    *("id", "category", "language", "tags", "input", "history", "locale", "tenant", "roles", "slots", "passages"),
    *("expect", "must", "notes", "source"),
)


def read_cases(folder: Path, *, shown: str) -> list[Case]:
    """Every case that a feature is evaluated on, its files by name and its lines in order, each with an id.

    Those of `train*.jsonl` are none of them. `folder` is the feature's own; `shown` is how errors call it. Without a folder
    `cases` there are none. Raises `ConfigError` with file, line and key.
    """
    return [placed.case for placed in placed_cases(folder, shown=shown)]


def read_training(folder: Path, *, shown: str) -> list[Case]:
    """Every case of a feature that is there to learn from, and is never evaluated; as `read_cases` otherwise."""
    files = [path for path in case_files(folder, shown=shown) if path.name.startswith(TRAINING)]
    return [placed.case for placed in _placed(files, shown)]


class Placed(NamedTuple):
    """A case, its file, and its line there, counted from 1."""

    path: Path
    line: int
    case: Case


def placed_cases(folder: Path, *, shown: str) -> list[Placed]:
    """As `read_cases`, each with the place where it stands."""
    return _placed([path for path in case_files(folder, shown=shown) if not path.name.startswith(TRAINING)], shown)


def _placed(paths: Iterable[Path], shown: str) -> list[Placed]:
    found: list[Placed] = []
    lines: list[str] = []
    for path in paths:
        for number, line, case in _read(path, f"{shown}/{FOLDER}/{path.name}"):
            found.append(Placed(path, number, case))
            lines.append(line.at)
    cases = [placed.case for placed in found]
    _check_ids([case.id for case in cases], lines)
    ready = named(cases)
    _check_ids([case.id for case in ready], lines)  # one that is made up may be taken, too
    return [placed._replace(case=case) for placed, case in zip(found, ready, strict=True)]


def case_files(folder: Path, *, shown: str) -> list[Path]:
    """The files of cases in a feature's folder, by name; hidden ones, as editors leave them, are none of them."""
    inside = folder / FOLDER
    if not inside.exists():
        return []
    if not inside.is_dir():
        raise ConfigError("this is a file, and has to be a folder of *.jsonl files", where=f"{shown}/{FOLDER}")
    return sorted(path for path in inside.iterdir() if path.suffix == SUFFIX and not path.name.startswith("."))


class Line(Written):
    """One line of a file, read as JSON. `at` is how errors name it, such as `cases/a.jsonl:3`."""

    words = {"object": "an object"}

    def __init__(self, at: str) -> None:
        self.at = at

    def where(self, place: Place) -> str:
        return f"{self.at} {dotted(place)}".rstrip()

    def case(self, data: Any) -> Case:
        """What was read from the line, as a case. Raises `ConfigError`."""
        if not isinstance(data, dict):
            raise self.error((), f"expected a case as an object in braces, got {quoted(data)}")
        _check_keys(self, data)
        case: Case = self.read(data, Case)
        _check_case(self, case)
        return case

    def data(self, text: str) -> Any:
        """The JSON value of a line. Raises `ConfigError` for what is not JSON, or could not be written again as it was."""
        try:
            data = json.loads(text, object_pairs_hook=self._object)
            kept = not _too_deep(data) and documents.is_json(data)
        except json.JSONDecodeError as error:
            raise self.error(
                (), f"not JSON: {error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}{_slip(text)}"
            ) from None
        except RecursionError:
            raise self.error((), TOO_DEEP) from None
        except ValueError as error:
            raise self.error((), f"not JSON that can be read: {error}") from None
        if not kept:
            if _too_deep(data):
                raise self.error((), TOO_DEEP)
            raise self.error((), "this cannot be kept: a number is too large, or not a number, or a text has half a character")
        return data

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise self.error((), f"the key {quoted(twice)} stands twice in one object; the first would be lost")
        return found


def _read(path: Path, shown: str) -> Iterable[tuple[int, Line, Case]]:
    """The cases of one file, each with its line: the number, and what reads it."""
    for number, text in enumerate(_text(path, shown).split("\n"), 1):  # a case may hold other characters that break lines
        if text.strip():
            line = Line(f"{shown}:{number}")
            yield number, line, line.case(line.data(text))


def _text(path: Path, shown: str) -> str:
    try:
        return documents.decoded(path.read_bytes(), shown)
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", where=shown) from None


def _too_deep(data: Any) -> bool:
    level = [data]
    for _ in range(DEEPEST):
        level = [inner for value in level if isinstance(value, dict | list) for inner in _inside(value)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _slip(text: str) -> str:
    """What is probably meant, where a line is not JSON."""
    if text.strip() in ("[", "]", "{", "}", "},") or text.rstrip().endswith("},"):
        return "; each line holds one whole case, with nothing before, between or after them"
    if text.lstrip().startswith(("#", "//")):
        return "; there are no comments in this format, but `notes` is a key of a case"
    return ""


def _check_keys(line: Line, data: Mapping[str, Any]) -> None:
    """Unknown keys of turns and passages. Elsewhere these types are read from wires, which may grow."""
    for key, kind in (("history", Turn), ("passages", Passage)):
        items = data.get(key)
        for i, item in enumerate(items if isinstance(items, list) else []):
            for name in item if isinstance(item, dict) else ():
                if name not in kind.__struct_fields__:
                    raise line.error((key, i, name), f"unknown key; {nearest(name, kind.__struct_fields__)}")


def _check_case(line: Line, case: Case) -> None:
    """What the types cannot say."""
    for name, expected in case.expect.items():
        if not name.removeprefix(NOT).strip():
            raise line.error(("expect", name), "a scorer's name is missing")
        if expected is None:
            raise line.error(("expect", name), "`null` expects nothing; a scorer that compares with nothing gets `true`")
    for name in ("category", "language"):
        if name in case.tags:
            raise line.error(("tags", name), f"`{name}` is a key of the case itself, and not a tag")
    if "" in case.tags:
        raise line.error(("tags", ""), "a tag's name is missing")
    if case.id != case.id.strip() or not case.id.isprintable():
        raise line.error(("id",), f"{quoted(case.id)}: an id is one line, without white space around it")


def _check_ids(ids: list[str], lines: list[str]) -> None:
    first: dict[str, str] = {}
    for id, line in zip(ids, lines, strict=True):
        if id and id in first:
            raise ConfigError(f"the id {quoted(id)} is taken: {first[id]} has it", where=f"{line} id")
        first[id] = line


def new_cases(found: Iterable[Case], there: Iterable[Case]) -> list[Case]:
    """Those of the found ones that are not there: another call, or other expectations of it.

    One whose id is taken by another case loses it, and is called after its call.
    """
    there = list(there)
    known = {_identity(case) for case in there}
    ids = {case.id for case in there}
    new = []
    for case in found:
        if _identity(case) not in known:
            known.add(_identity(case))
            new.append(msgspec.structs.replace(case, id="") if case.id in ids else case)
            ids.add(case.id)
    return new


def _identity(case: Case) -> tuple[str, bytes]:
    return case.fingerprint(), msgspec.json.encode(case.expect, order="deterministic")


# Writing


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    """Write a file of cases in place of what is there.

    The file is whole at every moment. Raises `OSError`, and `ValueError` for a case that could not be read again as it was.
    """
    _replace(path, _encoded(cases))


def add_cases(path: Path, cases: Iterable[Case]) -> None:
    """Write cases behind those that are in a file, which stay as they are to the byte. Raises as `write_cases` does."""
    there = path.read_bytes() if path.exists() else b""
    if there and not there.endswith(b"\n"):
        there += b"\n"
    _replace(path, there + _encoded(cases))


def _encoded(cases: Iterable[Case]) -> bytes:
    return b"".join(_line(case) + b"\n" for case in cases)


def _line(case: Case) -> bytes:
    data = msgspec.to_builtins(case)
    if not documents.is_json(data):
        raise ValueError(f"JSON cannot hold the case {quoted(case.id or case.input)}, or not so that it is read as it was")
    return msgspec.json.encode({key: data[key] for key in ORDER if key in data})


def _replace(path: Path, content: bytes) -> None:
    target = Path(os.path.realpath(path))  # a link stays a link
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            draft.chmod(stat.S_IMODE(target.stat().st_mode))
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
