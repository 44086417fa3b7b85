"""What came of all exchanges, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bench.wire.exchanges import Exchange
from bench.wire.replay import Outcome

Result = tuple[Exchange, Outcome]


def print_report(results: Sequence[Result], cuts: dict[int, Counter[str]]) -> None:
    """The tables, the refusals by name, everything that was missed, and the line that says it all."""
    print(
        "Rows per provider. `equal` leaves refusals out; `kept` are requests that were sent with the meaning that was recorded.\n"
    )
    _table("provider", [(exchange.provider, exchange, outcome) for exchange, outcome in results])
    print("\nRows per wire\n")
    _table("wire", [(exchange.wire or "none", exchange, outcome) for exchange, outcome in results])
    print("\nRows per provider and feature, where there is an adapter\n")
    spoken = [(exchange, outcome) for exchange, outcome in results if exchange.wire is not None]
    _table("provider, feature", [(f"{e.provider}, {feature}", e, o) for e, o in spoken for feature in e.features])
    print("\nStreams again, with their bodies cut into pieces\n")
    for size, counts in cuts.items():
        print(f"  {size} byte{'' if size == 1 else 's'} at a time: {counts['equal']} of {counts.total()} equal")
    _refusals(results)
    _lines("Requests whose meaning was not kept", [f"{e.id}: {o.lost}" for e, o in results if o.lost])
    _lines("Missed", [f"{e.id}: {o.detail}" for e, o in results if o.verdict == "missed"])
    count = Counter(outcome.verdict for _, outcome in results)
    print(f"\nwire: {count['parsed']} parsed, {count['refused']} refused, {count['missed']} missed of {len(results)}")


def _table(title: str, rows: Iterable[tuple[str, Exchange, Outcome]]) -> None:
    groups: dict[str, list[Outcome]] = {}
    for name, _, outcome in rows:
        groups.setdefault(name, []).append(outcome)
    width = max([len(title), *map(len, groups)])
    print(f"  {title:{width}}   rows  parsed  refused  missed    equal     kept")
    for name in sorted(groups):
        outcomes = groups[name]
        count = Counter(outcome.verdict for outcome in outcomes)
        tried = count["parsed"] + count["missed"]
        kept = [outcome.kept for outcome in outcomes if outcome.kept is not None]
        print(
            f"  {name:{width}} {len(outcomes):6} {count['parsed']:7} {count['refused']:8} {count['missed']:7}"
            f" {_share(count['parsed'], tried)} {_share(sum(kept), len(kept))}"
        )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:6.1f} %" if whole else "       –"


def _refusals(results: Sequence[Result]) -> None:
    names = Counter(outcome.detail for _, outcome in results if outcome.verdict == "refused")
    print("\nRefused, by name\n")
    for name, count in names.most_common():
        print(f"  {count:5}  {name}")
    beyond = [outcome.beyond for _, outcome in results if outcome.beyond is not None]
    if beyond:
        print(f"\n  Of the {len(beyond)} refused on wires that we speak, {sum(beyond)} answers were read all the same.")


def _lines(title: str, lines: list[str]) -> None:
    print(f"\n{title}: {len(lines) or 'none'}")
    for line in lines:
        print(f"  {line[:400]}")
