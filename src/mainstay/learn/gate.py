from mainstay.core.report import Finding, Report, Ruling


def rule(report: Report, gate: object, first_word: float | None = None) -> Ruling:
    bad = [r.case for r in report.candidate.results if not r.passed]
    return Ruling(
        outcome="blocked" if bad else "passed",
        findings=tuple([Finding(outcome="blocked", rule="x", what="y", cases=tuple(bad))] if bad else []),
    )


def noise_of(report: Report) -> dict[str, float]:
    return {}
