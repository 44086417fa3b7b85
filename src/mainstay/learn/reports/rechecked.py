"""A recheck as Markdown and as one page of HTML. Texts of answers and documents are data in both: nothing in them is markup."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from mainstay.core.evidence import Lag
from mainstay.learn.differences import Piece
from mainstay.learn.rechecking import KINDS, Group, Recheck, groups_of
from mainstay.learn.reports.html import characters_only, file_of, hash_of, rendered
from mainstay.learn.reports.markdown import code, plain

MOST = 500  # changes that a page shows
MOST_NAMED = 10  # records that are named behind one change
MOST_IN_MARKDOWN = 50


def verdict(report: Recheck) -> tuple[str, str]:
    """A word and a sentence for what was found."""
    looked = f"Looked at: {_many(report.records, 'answer')}, {_many(report.passages, 'passage')}, {_many(report.facts, 'fact')}."
    if report.stands:
        return "It stands", f"No answer rests on what changed. {looked}"
    rest = "rests" if report.answers == 1 else "rest"
    return "Changed", f"{_many(report.answers, 'answer')} {rest} on what changed. {looked}"


def _many(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def counts(report: Recheck) -> list[tuple[str, str]]:
    """What is worth saying of the run, in words and figures."""
    at = datetime.datetime.fromtimestamp(report.at, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    rows = [
        ("When", f"{at}, in {report.took_s:.1f} s"),
        ("Who", report.who),
        ("Features", ", ".join(report.features)),
        ("Unchanged", f"{report.unchanged:,}"),
        ("Not comparable", f"{report.untold:,}" if report.untold else ""),
        ("Asked again", f"{report.replayed:,}" if report.replayed else ""),
        ("Cached answers", f"{report.dropped:,} dropped of {report.cached:,}"),
        ("New review items", f"{report.reviews:,}"),
        ("Recheck", report.id),
    ]
    return [(name, value) for name, value in rows if value]


def lag_of(lag: Lag) -> str:
    """How an index lags behind its source, in a sentence; empty where it does not."""
    parts = [
        f"{len(names)} {word}" for names, word in ((lag.added, "new"), (lag.changed, "changed"), (lag.removed, "gone")) if names
    ]
    said = []
    if parts:
        said.append(f"{', '.join(parts)}{'; brought up to date now' if lag.mended else ': run mainstay index'}")
    said += [f"not read: {fault}" for fault in lag.faults]
    said += [f"overdue for review: {document}" for document in lag.overdue]
    if lag.trouble:
        said.append(lag.trouble)
    return "; ".join(said)


# Markdown


def markdown(report: Recheck) -> str:
    """For the summary of a CI run, or a message to a team."""
    word, sentence = verdict(report)
    lines = [f"# Recheck: {word.lower()}", "", sentence, ""]
    lines += [f"- {name}: {plain(value)}" for name, value in counts(report)]
    groups = groups_of(report)
    for group in groups[:MOST_IN_MARKDOWN]:
        first = group.first
        lines += ["", f"## {plain(first.what)}", "", f"{plain(KINDS[first.kind]).capitalize()}. {_answers(group)}"]
        if first.said:
            lines += ["", f"> {plain(first.said)}"]
        if first.diff:
            lines += ["", _marked(first.diff)]
    if len(groups) > MOST_IN_MARKDOWN:
        lines += ["", f"{len(groups) - MOST_IN_MARKDOWN} more changes are left out."]
    behind = [f"- {plain(lag.source)}: {plain(said)}" for lag in report.lags if (said := lag_of(lag))]
    lines += ["", "## Sources", "", *behind] if behind else []
    troubles = [f"- {plain(trouble)}" for trouble in report.troubles]
    lines += ["", "## What could not be looked at", "", *troubles] if troubles else []
    return "\n".join(lines) + "\n"


def _answers(group: Group) -> str:
    named = ", ".join(f"`{code(record)}`" for record in group.records[:MOST_NAMED])
    more = f" and {len(group.records) - MOST_NAMED} more" if len(group.records) > MOST_NAMED else ""
    return f"Answers: {named}{more}."


def _marked(pieces: Sequence[Piece]) -> str:
    marks = {"same": "", "gone": "~~", "new": "**"}
    found = []
    for piece in pieces:
        text = plain(piece.text)
        mark = marks[piece.did] if text.strip() else ""
        before, after = (" " if piece.text[:1].isspace() else "", " " if piece.text[-1:].isspace() else "")
        found.append(f"{before}{mark}{text}{mark}{after}")
    return "".join(found).strip()


# HTML


def html(report: Recheck) -> str:
    """The whole page. Opens from a file, loads nothing and runs nothing."""
    style = file_of("report.css")
    policy = f"default-src 'none'; style-src {hash_of(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    return rendered("recheck.html", style=style, policy=policy, **characters_only(_shown(report)))


def _shown(report: Recheck) -> dict[str, Any]:
    word, sentence = verdict(report)
    groups = groups_of(report)
    return {
        "word": word,
        "sentence": sentence,
        "outcome": "passed" if report.stands else "blocked",
        "counts": counts(report),
        "changes": [_change(group) for group in groups[:MOST]],
        "left_out": max(0, len(groups) - MOST),
        "lags": [{"source": lag.source, "said": said} for lag in report.lags if (said := lag_of(lag))],
        "troubles": list(report.troubles),
    }


def _change(group: Group) -> dict[str, Any]:
    first = group.first
    return {
        "kind": first.kind,
        "means": KINDS[first.kind],
        "serious": first.serious,
        "what": first.what,
        "source": first.source,
        "feature": first.feature,
        "said": first.said,
        "diff": [{"did": piece.did, "text": piece.text} for piece in first.diff],
        "records": group.records[:MOST_NAMED],
        "more": max(0, len(group.records) - MOST_NAMED),
    }
