from pathlib import Path

import msgspec

from mainstay.core.case import Case, named


def read_cases(folder: Path, *, shown: str) -> list[Case]:
    found = []
    for f in sorted((folder / "cases").glob("*.jsonl")):
        if f.name.startswith("train"):
            continue
        found += [msgspec.json.decode(l, type=Case) for l in f.read_text().splitlines() if l.strip()]
    return named(found)
