"""The door of pytest: each case of a feature is a test, which fails with what the scorers say.

One opened project and one event loop serve a whole session (one for each process of pytest-xdist). Cases run one after the other
through the working folder; answers of the last day are not asked for again. It rules on nothing: whether a release may go live is
for `mainstay release` to say.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import mainstay
from mainstay.at_rest import folders_in
from mainstay.core.case import Case
from mainstay.core.errors import MainstayError, nearest
from mainstay.core.report import Result
from mainstay.doors.cli.printing import milliseconds, money, one_line, printable
from mainstay.learn.evaluation import Options
from mainstay.learn.releasing import Working
from mainstay.spec.cases import FOLDER, SUFFIX, Placed, placed_cases
from mainstay.spec.settings_file import FILE

LONGEST = 2000  # characters of an input or an answer that a failure shows


class Cases:
    """What pytest is taught, for one run."""

    def __init__(self, config: pytest.Config, given: Sequence[str]) -> None:
        try:
            self.root = _project(config)
            self.folders = folders_in(self.root)
        except MainstayError as error:
            raise pytest.UsageError(str(error)) from None
        self.wanted, paths = self._told_apart(given)
        if config.args_source is not pytest.Config.ArgsSource.ARGS:
            config.args = paths or [str(file) for name in self.wanted for file in _files(self.folders[name])]
        else:
            config.args += paths
        self._placed: dict[str, list[Placed]] = {}
        self._sitting: Sitting | None = None

    def _told_apart(self, given: Sequence[str]) -> tuple[list[str], list[str]]:
        """The features and the paths among what was given: pytest cannot know where the ones end and the others begin."""
        names = [name for name in given if name in self.folders]
        paths = [name for name in given if name not in self.folders]
        for path in paths:
            if not Path(path.partition("::")[0]).exists():
                raise pytest.UsageError(f'there is no feature and no path "{path}"; {nearest(path, self.folders)}')
        return names or list(self.folders), paths

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """A file of cases, if it is one of a feature that is wanted."""
        for name in self.wanted:
            if file_path.parent.resolve() == (self.folders[name] / FOLDER).resolve() and file_path in _files(self.folders[name]):
                return CasesFile.from_parent(parent, path=file_path, cases=self, feature=name)
        return None

    def placed(self, feature: str) -> list[Placed]:
        """The cases of a feature with their places. Raises `ConfigError`."""
        if feature not in self._placed:
            self._placed[feature] = placed_cases(self.folders[feature], shown=f"{self.folders[feature].parent.name}/{feature}")
        return self._placed[feature]

    @property
    def sitting(self) -> Sitting:
        """The opened project. Raises `ConfigError`."""
        if self._sitting is None:
            self._sitting = Sitting(self.root)
        return self._sitting

    def pytest_sessionfinish(self) -> None:
        """Close what was opened."""
        if self._sitting is not None:
            self._sitting.close()


class Sitting:
    """One opened project with its event loop."""

    def __init__(self, root: Path) -> None:
        self._app = mainstay.open(root, dev=True)
        self._runner = asyncio.Runner()
        self._working: dict[str, Working] = {}
        self._spent: dict[str, int] = {}

    def attempt(self, feature: str, case: Case) -> Result:
        """The case, answered and scored. Raises `MainstayError`, also where the feature's `gate.budget` is spent."""
        if feature not in self._working:
            self._working[feature] = self._app.workshop.working(feature)
        working = self._working[feature]
        budget, spent = working.ready.feature.gate.budget, self._spent.get(feature, 0)
        if budget is not None and spent >= budget:
            raise MainstayError(f"the budget of this feature's cases, {budget}, is spent", where="gate.budget")
        result = self._runner.run(self._app.desk.attempt(working, case, Options()))
        self._spent[feature] = spent + (0 if result.kept else result.cost_nano_usd or 0)
        return result

    def close(self) -> None:
        """Let go of everything."""
        self._runner.run(self._app.close())
        self._runner.close()


class CasesFile(pytest.File):
    """One file of cases."""

    def __init__(self, *, cases: Cases, feature: str, **more: Any) -> None:
        super().__init__(**more)
        self._cases, self._feature = cases, feature

    def collect(self) -> Iterator[pytest.Item]:
        try:
            placed = self._cases.placed(self._feature)
        except MainstayError as error:
            raise self.CollectError(str(error)) from None
        for path, line, case in placed:
            if path.name == self.path.name:
                yield CaseItem.from_parent(self, name=case.id, cases=self._cases, feature=self._feature, line=line, case=case)


class CaseItem(pytest.Item):
    """One case. It is asked in the set-up: an answer that nobody could score is an error, and no failure."""

    def __init__(self, *, cases: Cases, feature: str, line: int, case: Case, **more: Any) -> None:
        super().__init__(**more)
        self._cases, self._feature, self._line, self._case = cases, feature, line, case
        self._result: Result | None = None
        self.extra_keyword_matches |= {feature, *filter(None, [case.category, case.language, *case.tags.values()])}

    def setup(self) -> None:
        case = self._case
        try:
            result = self._result = self._cases.sitting.attempt(self._feature, case)
        except MainstayError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        known = {"feature": self._feature, "category": case.category, "language": case.language, **case.tags}
        self.user_properties += [(name, value) for name, value in known.items() if value] + [("record", result.record)]
        if result.passed is None:
            pytest.fail(_told(self._feature, case, result), pytrace=False)

    def runtest(self) -> None:
        assert self._result is not None  # noqa: S101  the set-up made it
        if self._result.passed is False:
            pytest.fail(_told(self._feature, self._case, self._result), pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self._line - 1, f"{self._feature}: {self.name}"


def _project(config: pytest.Config) -> Path:
    """The nearest folder of a project, at or above where pytest was started; else pytest's root."""
    start = config.invocation_params.dir
    return next((folder for folder in (start, *start.parents) if (folder / FILE).is_file()), config.rootpath)


def _files(folder: Path) -> list[Path]:
    """The files of a feature's folder that may hold cases, training among them."""
    return sorted(path for path in (folder / FOLDER).glob(f"*{SUFFIX}") if not path.name.startswith("."))


def _told(feature: str, case: Case, result: Result) -> str:
    """Why a case did not pass, for people: the reasons first, which pytest's summary shows."""
    said = {True: "passed", False: "FAILED", None: "UNKNOWN"}
    wrong = [f"{name}: {opinion.reason}" for name, opinion in result.opinions.items() if opinion.passed is not True]
    nothing = "nothing scores this case: it expects nothing, and gate.scorers names none"
    lines = [one_line("; ".join(wrong) or nothing), "", f"the case {case.id} of {feature}{' (must pass)' if case.must else ''}"]
    lines += _field("input", case.input)
    lines += _field("expected", case.expect)
    reason = f", {result.reason}" if result.reason else ""
    facts = (
        f"{result.status}{reason}, by {result.rung or 'no rung'}, {milliseconds(result.took_us)}, {money(result.cost_nano_usd)}"
    )
    lines += _field("shown", result.shown or "(nothing)")
    lines += [f"  answer    {facts}, record {result.record}{', given before' if result.kept else ''}"]
    for name, opinion in result.opinions.items():
        value = "" if opinion.value is None else f" ({opinion.value:.3g})"
        lines.append(f"  {said[opinion.passed]:<9} {name}{value}: {one_line(opinion.reason, LONGEST) or '-'}")
    return "\n".join(printable(line) for line in lines)


def _field(name: str, value: object) -> list[str]:
    """A value under its name, a line each, indented."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    first, *rest = cut.splitlines() or [""]
    return [f"  {name:<9} {first}", *[f"{'':12}{line}" for line in rest]]
