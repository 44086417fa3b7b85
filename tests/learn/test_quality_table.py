"""The table of quality: its figures are what they are called, and one missing set takes no other with it."""

from __future__ import annotations

import gzip
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.quality.__main__ import listed, said_of
from bench.quality.table import Row, apart, as_table, auroc, folds, learned, share, verdict

ROOT = Path(__file__).parents[2]


def table(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The very command of `make bench-quality`, in a folder of its own."""
    command = [sys.executable, "-m", "bench.quality", *arguments]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environ = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False)


def row(ours: float = 0.5, published: float | None = None, metric: str = "accuracy") -> Row:
    return Row(set="s", metric=metric, published=published, ours=ours, n=4)


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([0.1, 0.4, 0.35, 0.8], [False, False, True, True], 0.75),  # of the four pairs, only 0.35 beside 0.4 is wrong
        ([0.9, 0.8, 0.2], [True, True, False], 1.0),
        ([0.2, 0.8, 0.9], [True, False, False], 0.0),
        ([0.5, 0.5, 0.5], [True, False, False], 0.5),  # ties count half
        ([0.5, 0.5, 0.9, 0.1], [True, False, True, False], 0.875),  # 1 + 1 + 1 + 0.5 of 4
    ],
)
def test_auroc_is_the_share_of_pairs_in_order(scores: list[float], labels: list[bool], expected: float) -> None:
    """Every claim of the alignment rests on this figure, so it has to agree with counting pairs by hand."""
    assert auroc(scores, labels) == pytest.approx(expected)


def test_auroc_of_one_class_is_not_told() -> None:
    """Half a set may hold one label only; a made-up 0 or 1 would go into the documents as a figure."""
    assert math.isnan(auroc([0.1, 0.9], [True, True]))
    assert "not told" in as_table([row(float("nan"), 0.7)])
    assert verdict(row(float("nan"), 0.7)) == ""


def test_a_share_of_nothing_is_not_told() -> None:
    """A half that happens to hold no row of a kind would otherwise stop the task, or stand in the table as a 0."""
    assert math.isnan(share([]))
    assert share(x > 1 for x in (0, 1, 2, 3)) == 0.5


def test_a_group_is_never_torn_apart() -> None:
    """A near copy on both sides of a fold would be learned by heart, and counted as skill."""
    rows = [(group, i) for group in range(40) for i in range(3)]
    seen = []
    for train, test in folds(rows, lambda r: r[0]):
        assert not {g for g, _ in train} & {g for g, _ in test}
        assert len(train) + len(test) == len(rows)
        seen += test
    assert sorted(seen) == rows
    assert list(folds(rows, lambda r: r[0])) == list(folds(rows, lambda r: r[0]))


def test_two_folders_are_not_mixed() -> None:
    """With a half that is kept away, all of one side is learned from and all of the other counted, in one go."""
    assert list(learned([1, 2], [3, 4], same=False, group=lambda r: r)) == [([1, 2], [3, 4])]


@pytest.mark.parametrize(
    ("metric", "ours", "expected"),
    [
        ("accuracy", 0.8, "better"),
        ("accuracy", 0.6, "worse"),
        ("accuracy", 0.7, "the same"),
        ("calibration error", 0.6, "better"),
        ("benign questions flagged", 0.8, "worse"),
        ("benign passages left out", 0.8, "worse"),
        ("over-refusal: safe prompts refused", 0.6, "better"),
        ("caught where at most 5% of benign inputs are flagged", 0.8, "better"),
        ("caught at 5 % false alarms", 0.6, "worse"),
    ],
)
def test_less_of_an_error_is_better(metric: str, ours: float, expected: str) -> None:
    """A table that calls more errors better would be believed."""
    assert verdict(row(ours, 0.7, metric)) == expected


def test_a_missing_file_stops_no_other_set() -> None:
    """The rows of the other sets are there, and what is missing is named behind them."""

    def missing() -> Iterator[Row]:
        yield row(0.1)
        raise FileNotFoundError(2, "No such file", "a.jsonl.gz")

    found: list[Row] = []
    with pytest.raises(OSError, match=r"a\.jsonl\.gz"):
        found.extend(apart(missing(), iter([row(0.2)])))
    assert [one.ours for one in found] == [0.1, 0.2]


def test_what_is_not_there_yet_is_told_from_what_lacks_a_package() -> None:
    """Who runs the table without an extra has to read which one, not a stack."""
    assert said_of(ModuleNotFoundError(name="bench.quality.tides"), "tides") == "it is not there"
    assert "numpy" in said_of(ModuleNotFoundError(name="numpy"), "tides")


def test_a_figure_that_is_not_told_is_no_json_number() -> None:
    """NaN is not JSON: the whole file would be unreadable for the sake of one set."""
    assert json.loads(listed([row(float("nan")), row(0.25)])) == [
        {"set": "s", "metric": "accuracy", "published": None, "ours": 0.25, "n": 4}
    ]


def test_it_runs_on_a_small_folder_with_most_of_it_missing(tmp_path: Path) -> None:
    """The kept half of a set may be small and lack files: what is there is counted, what is not is named, and it ends well."""
    folder = tmp_path / "judge_rerank"
    folder.mkdir()
    lines = [
        {
            "id": str(i),
            "subset": "Natural",
            "input": "?",
            "output_1": "long" * (1 + i % 3),
            "output_2": "long" * 2,
            "label": 1 + i % 2,
        }
        for i in range(30)
    ]
    (folder / "llmbar.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    kept = tmp_path / "kept.json"
    done = table(tmp_path, str(tmp_path), str(tmp_path), "judges", "classifier", "--keep", str(kept))
    assert done.returncode == 0, done.stderr
    assert [r["set"] for r in json.loads(kept.read_text())] == ["llmbar"]
    assert "pandalm.jsonl.gz" in done.stdout and "banking77.jsonl.gz" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_nothing_measured_is_no_success(tmp_path: Path) -> None:
    """A wrong folder ends with 2 and what to type, not with an empty table."""
    done = table(tmp_path, str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "make bench-quality" in done.stderr
