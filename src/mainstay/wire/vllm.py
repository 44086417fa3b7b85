"""What vLLM says of its queue, in Prometheus' text format at `/metrics`.

    vllm:num_requests_running{engine="0",model_name="qwen"} 8.0
    vllm:num_requests_waiting{engine="0",model_name="qwen"} 3.0

Both are gauges, one of each for every engine and model. Source: vLLM's `vllm/v1/metrics/loggers.py`.
"""

from __future__ import annotations

import re

_LINE = re.compile(r"^vllm:num_requests_(running|waiting)(?:\{([^}]*)\})?\s+(\S+)", re.MULTILINE)
_MODEL = re.compile(r'(?:^|,)\s*model_name="((?:[^"\\]|\\.)*)"')


def queue_of(text: str, model: str) -> tuple[float, float] | None:
    """How many requests run and wait, over all engines; of that model where any line names it. None where nothing says so."""
    found: list[tuple[str, str, float]] = []
    for name, labels, value in _LINE.findall(text):
        named = _MODEL.search(labels)
        try:
            found.append((name, named[1] if named else "", float(value)))
        except ValueError:
            continue
    own = [line for line in found if line[1] == model] or found
    if not any(name == "waiting" for name, _, _ in own):
        return None
    running, waiting = (sum([max(0.0, value) for name, _, value in own if name == kind]) for kind in ("running", "waiting"))
    return running, waiting
