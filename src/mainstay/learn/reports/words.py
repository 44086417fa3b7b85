"""How figures and outcomes are said, in a terminal and in a browser alike."""

from __future__ import annotations

from mainstay.core.report import Outcome, Report
from mainstay.learn.calibration import Reliability

UNKNOWN = "–"
VERDICTS: dict[Outcome | None, tuple[str, str]] = {
    "passed": ("Passed", "This release may go live."),
    "blocked": ("Blocked", "This release may not go live."),
    "inconclusive": ("Inconclusive", "There is too little to tell whether this release may go live."),
    None: ("No verdict", "This evaluation was not put before a gate."),
}


def verdict(report: Report) -> tuple[str, str]:
    """A word and a sentence for what the gate says."""
    return VERDICTS[None if report.ruling is None else report.ruling.outcome]


def percent(share: float | None) -> str:
    """A share in percent, to a tenth."""
    return UNKNOWN if share is None else f"{share * 100:.1f} %"


def reliance(found: Reliability) -> str:
    """How far confidence can be relied upon, in one sentence."""
    return (
        f"Confidence of {found.answers:,} answers: calibration error {found.error:.3f}, Brier score {found.brier:.3f} "
        "(0 is best, of both)."
    )


def points(change: float | None) -> str:
    """A change of a share, in points of a hundred, with its sign."""
    if change is None:
        return UNKNOWN
    rounded = round(change * 100, 1)
    return "±0" if rounded == 0 else f"{rounded:+.1f}".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """From where to where a share may lie, in percent."""
    return UNKNOWN if low is None or high is None else f"{low * 100:.1f} to {high * 100:.1f} %"


def duration(micro: float | None) -> str:
    """Microseconds in the unit that fits, to three digits."""
    if micro is None:
        return UNKNOWN
    if micro < 999.5:
        return f"{micro:.0f} µs"
    return f"{_digits(micro / 1e3)} ms" if micro < 999_500 else f"{_digits(micro / 1e6)} s"


def dollars(nano: float | None) -> str:
    """Nano-dollars as dollars, to three digits; `?` where the price is unknown."""
    if nano is None:
        return "?"
    return f"${_digits(nano / 1e9)}"


def release(digest: str) -> str:
    """As much of a digest as tells releases apart."""
    return digest[:12]


def _digits(value: float) -> str:
    """Three digits that count, never as a power of ten."""
    if value == 0:
        return "0"
    places = 2
    while abs(value) * 10 ** (places - 2) < 1 and places < 9:
        places += 1
    if abs(value) >= 10:
        places = 1 if abs(value) < 100 else 0
    return f"{value:.{places}f}"
