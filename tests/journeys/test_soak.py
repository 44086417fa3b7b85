"""A server under a steady load keeps its memory: whatever its callers do, nothing is left behind."""

from __future__ import annotations

from bench import soak

SECONDS = 60
ALLOWED = 20.0  # megabytes that the line may rise by over a run this short, while caches still fill


def test_memory_files_and_threads_stay_flat_under_a_steady_load() -> None:
    """Streams whose readers leave, wrong bodies and cached answers must not leave memory, connections or threads behind."""
    flat, report = soak.soak(SECONDS, ALLOWED)
    assert flat, report
