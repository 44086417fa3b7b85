"""`data`: the answer's data holds at least these values.

Of a table, each key that is named has to be there with its value; others may be there too. Of a list, each entry has to be met by
an entry of the answer's list of its own, in any order; others may be there too. Numbers and texts have to be the same; `1` is
`1.0` and is not `true`. A free text is read as JSON first. The value is the share of the expected values that are there, and the
reason names the paths of the others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mainstay.core.report import Opinion, accepts, rejects
from mainstay.core.seams import Subject
from mainstay.parts.scorers.exact import same_json
from mainstay.parts.scorers.reading import NoData, data_of, quoted

FAULTS_TOLD = 5


class Fault(NamedTuple):
    """What is not as expected: where, what, and how many of the expected values that makes."""

    path: str
    what: str
    values: int


class Data:
    """The scorer; it has no options."""

    def check_expected(self, expected: Any) -> None:
        """A table or a list."""
        if not isinstance(expected, dict | list) or not expected:
            raise ValueError(f'expected the values that the data has to hold, such as {{"city": "Rome"}}, got {quoted(expected)}')

    async def score(self, subject: Subject) -> Opinion | None:
        """Look for each of the values."""
        expected = subject.expected
        if expected is None:
            return None
        self.check_expected(expected)
        try:
            faults = _faults(expected, data_of(subject.answer), "$")
        except NoData as error:
            return rejects(str(error))
        if not faults:
            return accepts()
        more = f"; and {len(faults) - FAULTS_TOLD} more" if len(faults) > FAULTS_TOLD else ""
        said = "; ".join(f"at {fault.path}: {fault.what}" for fault in faults[:FAULTS_TOLD])
        return rejects(said + more, value=max(0.0, 1 - sum(fault.values for fault in faults) / _values(expected)))


def _faults(expected: Any, data: Any, path: str) -> list[Fault]:
    if isinstance(expected, dict):
        if not isinstance(data, dict):
            return [Fault(path, f"it is {quoted(data)}, not a table", _values(expected))]
        return [fault for key, value in expected.items() for fault in _at(key, value, data, f"{path}.{key}")]
    if isinstance(expected, list | tuple):
        if not isinstance(data, list | tuple):
            return [Fault(path, f"it is {quoted(data)}, not a list", _values(expected))]
        unmet = _unmet(expected, data)
        return [Fault(path, f"no entry of its own for {quoted(expected[i])}", _values(expected[i])) for i in unmet]
    return [] if same_json(expected, data) else [Fault(path, f"it is {quoted(data)}, not {quoted(expected)}", 1)]


def _at(key: str, value: Any, data: dict[str, Any], path: str) -> list[Fault]:
    return _faults(value, data[key], path) if key in data else [Fault(path, "it is missing", _values(value))]


def _unmet(expected: Any, data: Any) -> list[int]:
    """The entries that no entry of the data is left for, when as many as possible have one (augmenting paths)."""
    fitting = [[j for j, there in enumerate(data) if not _faults(wanted, there, "")] for wanted in expected]
    taken: dict[int, int] = {}

    def place(i: int, tried: set[int]) -> bool:
        for j in fitting[i]:
            if j not in tried:
                tried.add(j)
                if j not in taken or place(taken[j], tried):
                    taken[j] = i
                    return True
        return False

    return [i for i in range(len(expected)) if not place(i, set())]


def _values(expected: Any) -> int:
    inner = expected.values() if isinstance(expected, dict) else expected if isinstance(expected, list | tuple) else ()
    return sum(map(_values, inner)) or 1
