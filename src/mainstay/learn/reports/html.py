"""A report as one page of HTML that needs nothing else: no server, no network, no other file.

What is known at once (verdict, findings, figures, plots) is written as HTML; the cases are written as JSON, and `report.js`
renders the page of them that is looked at. An index of all cases and the first block of them come before the script, the other
blocks behind it: the page can be used while they are still being read. Texts of cases are data throughout: the template escapes,
the script sets text and never markup, and a content security policy admits this page's one style and one script and nothing from
elsewhere.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import minijinja
import msgspec

from mainstay.core.case import Case
from mainstay.core.report import Opinion, Report, Result, Side
from mainstay.learn.figures import ALL, NONE, RungFigures, SliceFigures, rungs_of, share_passed, slices_of
from mainstay.learn.reports import plots, words

LONGEST = 20_000  # characters of one text that the page carries; what is longer is cut and says so
BLOCK = 500  # cases that are read together
MOST_SLICES = 100  # rows of the table by slice

_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")  # would end the script, or is no character


def html(report: Report) -> str:
    """The whole page. Opens from a file; texts longer than `LONGEST` characters are cut, and say so."""
    style, script = file_of("report.css"), file_of("report.js")
    policy = ("default-src 'none'", f"style-src {hash_of(style)}", f"script-src {hash_of(script)}", "img-src data:")
    return rendered(
        "report.html",
        style=style,
        script=script,
        policy="; ".join([*policy, "base-uri 'none'", "form-action 'none'"]),
        index=_embedded(index(report)),
        blocks=[_embedded(block) for block in blocks(report)],
        **characters_only(_shown(report)),
    )


def index(report: Report) -> dict[str, Any]:
    """What the page's script needs of every case at once, to filter them: rows instead of tables."""
    sides = [_turns(side) for side in _sides(report)]
    tags = list(dict.fromkeys(report.slices))
    return {
        "scorers": _scorers(report),
        "slices": tags,
        "none": NONE,
        "block": BLOCK,
        "compared": report.baseline is not None,
        "findings": [list(finding.cases) for finding in _findings(report)],
        "cases": [
            [case.id, int(case.must), [case.slice(name) for name in tags], *(_share(answers.get(case.id)) for answers in sides)]
            for case in report.cases
        ],
    }


def blocks(report: Report) -> Iterator[list[Any]]:
    """The cases in full, `BLOCK` at a time in the order of the index; each is read when one of its cases is looked at."""
    number = {name: index for index, name in enumerate(_scorers(report))}
    sides = [_turns(side) for side in _sides(report)]
    for start in range(0, len(report.cases), BLOCK):
        yield [
            [*_case(case), *([_turn(result, number) for result in answers.get(case.id, ())] for answers in sides)]
            for case in report.cases[start : start + BLOCK]
        ]


def _share(turns: Sequence[Result] | None) -> float | str | None:
    """The share of its turns that passes; None where it cannot be told, and nothing where it was not run."""
    return share_passed(turns) if turns else ""


def _sides(report: Report) -> list[Side]:
    return [report.candidate] if report.baseline is None else [report.candidate, report.baseline]


def _scorers(report: Report) -> list[str]:
    return sorted({name for side in _sides(report) for result in side.results for name in result.opinions})


def _case(case: Case) -> list[Any]:
    more = {
        "history": [[turn.role, _cut(turn.text)] for turn in case.history],
        "passages": [[passage.id, _cut(passage.text)] for passage in case.passages or ()],
        "notes": case.notes,
        "source": case.source,
        "locale": case.locale or "",
    }
    fields = [[name, _cut(value if isinstance(value, str) else _json(value))] for name, value in case.input.items()]
    expected = [[name, _cut(value if isinstance(value, str) else _json(value))] for name, value in case.expect.items()]
    return [fields, expected, {name: value for name, value in more.items() if value}]


def _turn(result: Result, number: Mapping[str, int]) -> list[Any]:
    said = [_opinion(number[name], opinion) for name, opinion in result.opinions.items()]
    how = [result.record, str(result.status), str(result.reason or ""), result.rung or "", _cut(result.shown)]
    return [*how, result.took_us, result.first_word_us, result.cost_nano_usd, int(result.kept), said]


def _opinion(scorer: int, opinion: Opinion) -> list[Any]:
    passed = None if opinion.passed is None else int(opinion.passed)
    value = None if opinion.value is None else round(opinion.value, 4)
    return [scorer, passed, value, *([_cut(opinion.reason)] if opinion.reason else [])]


def _turns(side: Side) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = defaultdict(list)
    for result in side.results:
        found[result.case].append(result)
    for turns in found.values():
        turns.sort(key=lambda result: result.turn)
    return found


def _shown(report: Report) -> dict[str, Any]:
    """What the template shows before any case."""
    slices = slices_of(report)
    largest = {figures.slice for figures in sorted(slices, key=lambda figures: -figures.cases)[:MOST_SLICES]} | {ALL}
    kept = [figures for figures in slices if figures.slice in largest]
    floor = plots.floor(kept)
    rungs = rungs_of(report)
    word, sentence = words.verdict(report)
    said = {str(name): value for name, value in report.notes.items() if name != "fits"}  # the recommendation says it in words
    return {
        "feature": report.feature,
        "outcome": "none" if report.ruling is None else report.ruling.outcome,
        "word": word,
        "sentence": sentence,
        "unfinished": report.unfinished,
        "about": _about(report),
        "findings": [
            {
                "outcome": finding.outcome,
                "word": words.VERDICTS[finding.outcome][0],
                "slice": finding.slice,
                "rule": finding.rule,
                "what": finding.what,
                "cases": len(finding.cases),
            }
            for finding in _findings(report)
        ],
        "tiles": _tiles(slices[0]),
        "compared": report.baseline is not None,
        "slices": [_row(figures, floor) for figures in kept],
        "floor": floor,
        "grid": plots.grid(floor),
        "left_out": len(slices) - len(kept),
        "scorers": sorted({name for figures in kept for name in figures.scorers}),
        "times": msgspec.to_builtins(plots.times(report.candidate, report.baseline)),
        "rungs": [_rung(rung) for rung in rungs],
        "scatter": msgspec.to_builtins(plots.scatter([rung for rung in rungs if rung.figures.slice == ALL])),
        "confidence": msgspec.to_builtins(plots.diagram(report.candidate)),
        "recommendation": str(said.pop("recommendation", "")),
        "notes": {name: value if isinstance(value, str) else _json(value) for name, value in said.items()},
        "noise": {name: f"{value:.3g}" for name, value in report.noise.items()},
    }


def _findings(report: Report) -> Sequence[Any]:
    return () if report.ruling is None else report.ruling.findings


def _about(report: Report) -> list[tuple[str, str]]:
    at = datetime.datetime.fromtimestamp(report.at, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    repeat = f", each {report.repeat} times" if report.repeat > 1 else ""
    rows = [
        ("Release", words.release(report.candidate.release)),
        ("Baseline", "" if report.baseline is None else words.release(report.baseline.release)),
        ("Cases", f"{len(report.cases):,}{repeat}"),
        ("When", f"{at}, in {words.duration(report.took_s * 1e6)}"),
        ("Who", report.who),
        ("Commit", report.commit),
        ("Report", report.id),
        ("Evidence", ", ".join(f"{name} {version[:12]}" for name, version in report.sources.items())),
    ]
    return [(name, value) for name, value in rows if value]


def _tiles(figures: SliceFigures) -> list[dict[str, str]]:
    before = figures.baseline
    shown = [
        (
            "Pass",
            words.percent(figures.passed),
            words.interval(figures.low, figures.high),
            _before(words.percent, before, "passed"),
        )
    ]
    for name, field in (
        ("Half within", "p50_us"),
        ("95 % within", "p95_us"),
        ("99 % within", "p99_us"),
        ("First word", "first_word_us"),
    ):
        shown.append((name, words.duration(getattr(figures, field)), "", _before(words.duration, before, field)))
    shown.append(("An answer costs", words.dollars(figures.cost_nano_usd), "", _before(words.dollars, before, "cost_nano_usd")))
    return [{"name": name, "value": value, "more": more, "before": was} for name, value, more, was in shown]


def _before(say: Any, before: SliceFigures | None, field: str) -> str:
    return "" if before is None else say(getattr(before, field))


def _row(figures: SliceFigures, floor: int) -> dict[str, Any]:
    before, change = figures.baseline, figures.change
    return {
        "slice": figures.slice,
        "cases": f"{figures.cases:,}",
        "unscored": figures.unscored,
        "passed": words.percent(figures.passed),
        "interval": words.interval(figures.low, figures.high),
        "before": words.percent(None if before is None else before.passed),
        "change": words.points(change),
        "sign": 0 if change is None else (change > 0.0005) - (change < -0.0005),
        "p50": words.duration(figures.p50_us),
        "p95": words.duration(figures.p95_us),
        "p99": words.duration(figures.p99_us),
        "first_word": words.duration(figures.first_word_us),
        "cost": words.dollars(figures.cost_nano_usd),
        "scorers": {name: f"{value:.3f}" for name, value in figures.scorers.items()},
        "plot": msgspec.to_builtins(plots.dumbbell(figures, floor)),
    }


def _rung(rung: RungFigures) -> dict[str, Any]:
    return {"rung": rung.rung, "itself": words.percent(rung.itself), **_row(rung.figures, 0)}


def _cut(text: str) -> str:
    """A text that the page can carry."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text) - LONGEST:,} more characters are not in this file)"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _embedded(value: object) -> str:
    """JSON that can stand in a script element: nothing in it ends the element, or is not a character."""
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", compact)


def characters_only(shown: dict[str, Any]) -> dict[str, Any]:
    """The same, with `?` for halves of characters (lone surrogates), which no file can hold."""
    whole: dict[str, Any] = json.loads(json.dumps(shown, ensure_ascii=False).encode("utf-8", "replace"))
    return whole


def rendered(template: str, **values: Any) -> str:
    """A page of this folder with these values; what is not marked safe is escaped."""
    return str(_environment().render_template(template, **values))


def hash_of(text: str) -> str:
    """A style or a script as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def file_of(name: str) -> str:
    """A file of this folder."""
    return (resources.files("mainstay.learn.reports") / name).read_text(encoding="utf-8")


@cache
def _environment() -> minijinja.Environment:
    return minijinja.Environment(loader=file_of, undefined_behavior="strict", trim_blocks=True, lstrip_blocks=True)
