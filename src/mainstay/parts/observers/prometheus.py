"""Prometheus metrics out of sealed records.

Names follow the Prometheus conventions: base units, `_total` on counters. No tenant, user or text is ever a label. Our own
overhead is apart from the provider's time, so that a slow model is not blamed on Mainstay nor the reverse. Counting is a few
dictionary additions a record; prometheus-client puts the figures into its text format when somebody asks for them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from mainstay.core.call import Priority
from mainstay.core.reasons import Reason
from mainstay.core.record import Attempt, Record

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MICRO = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)
KINDS = ("input", "output", "cached_input", "cache_write", "reasoning")
Labels = tuple[str, ...]
Queues = Callable[[], Iterable[tuple[str, int, Mapping[Priority, int]]]]


class _Counter:
    """A number for each set of labels."""

    def __init__(self, name: str, help: str, labels: list[str]) -> None:
        self._name, self._help, self._labels = name, help, labels
        self.values: defaultdict[Labels, float] = defaultdict(float)

    def family(self) -> Metric:
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, value in list(self.values.items()):
            family.add_metric(labels, value)
        return family


class _Histogram:
    """A count for each bucket and a sum, for each set of labels."""

    def __init__(self, name: str, help: str, labels: list[str], bounds: tuple[float, ...]) -> None:
        self._name, self._help, self._labels, self._bounds = name, help, labels, bounds
        self._values: dict[Labels, list[float]] = {}

    def observe(self, labels: Labels, value: float) -> None:
        counts = self._values.get(labels)
        if counts is None:
            counts = self._values[labels] = [0.0] * (len(self._bounds) + 2)
        counts[bisect_left(self._bounds, value)] += 1
        counts[-1] += value

    def family(self) -> Metric:
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for labels, (*counts, total) in list(self._values.items()):
            buckets, seen = [], 0.0
            for bound, count in zip([*map(str, self._bounds), "+Inf"], counts, strict=True):
                seen += count
                buckets.append((bound, seen))
            family.add_metric(labels, buckets, total)
        return family


class Prometheus:
    """The observer. `render` gives the text that `/metrics` answers; `queues` tells then of each queue its name, the places that
    are taken and who waits in which lane.
    """

    def __init__(self) -> None:
        self.queues: Queues = tuple
        self._calls = _Counter("mainstay_calls", "Calls that ended.", ["feature", "status", "reason", "rung"])
        self._seconds = _Histogram("mainstay_call_seconds", "From the call to its answer.", ["feature"], SECONDS)
        self._first = _Histogram("mainstay_first_word_seconds", "From the call to its first word.", ["feature"], SECONDS)
        self._overhead = _Histogram(
            "mainstay_overhead_seconds", "Our own part of a call: all but waiting for models.", ["feature"], MICRO
        )
        self._attempts = _Counter("mainstay_model_attempts", "Attempts at models.", ["model", "outcome"])
        self._waits = _Histogram("mainstay_model_seconds", "From an attempt's start to its end.", ["model"], SECONDS)
        self._tokens = _Counter(
            "mainstay_tokens",
            "Tokens. Of input, cached_input and cache_write are parts; of output, reasoning is.",
            ["feature", "model", "kind"],
        )
        self._cost = _Counter("mainstay_cost_usd", "Money spent on models whose price is known.", ["feature", "model"])
        self._unpriced = _Counter("mainstay_unpriced_attempts", "Attempts whose price is unknown.", ["feature", "model"])
        self._queued = _Histogram("mainstay_queue_seconds", "What attempts waited for a place before.", ["model"], SECONDS)
        self._shed = _Counter("mainstay_shed", "Rungs passed over because a queue was too long.", ["feature", "rung"])
        self._guards = _Counter("mainstay_guard_verdicts", "Verdicts other than allow.", ["guard", "stage", "action"])
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Every metric, for prometheus-client."""
        yield from (metric.family() for metric in vars(self).values() if isinstance(metric, _Counter | _Histogram))
        running = GaugeMetricFamily("mainstay_running", "Places that are taken now.", labels=["of"])
        waiting = GaugeMetricFamily("mainstay_queue_waiting", "Who waits for a place now.", labels=["of", "lane"])
        for of, places, lanes in self.queues():
            running.add_metric((of,), places)
            for lane, depth in lanes.items():
                waiting.add_metric((of, lane), depth)
        yield from (running, waiting)

    def observe(self, record: Record) -> None:
        call, outcome = record.begun.call, record.outcome
        answer, feature = outcome.answer, call.feature
        if call.origin != "user":
            return
        self._calls.values[feature, answer.status, answer.reason or "", answer.rung or ""] += 1
        self._seconds.observe((feature,), outcome.took_us / 1e6)
        if outcome.shared_with is None and answer.reason is not Reason.READER_LEFT:  # else who waited for whom is not known
            self._overhead.observe((feature,), max(0, outcome.took_us - outcome.provider_us) / 1e6)
        if outcome.first_word_us is not None:
            self._first.observe((feature,), outcome.first_word_us / 1e6)
        for attempt in outcome.attempts:
            self._observe_attempt(feature, attempt)
        for note in outcome.guards:
            self._guards.values[note.guard, note.stage, note.action] += 1

    def _observe_attempt(self, feature: str, attempt: Attempt) -> None:
        model, usage = attempt.model, attempt.usage
        if attempt.outcome == Reason.BUSY:
            self._shed.values[feature, attempt.rung] += 1
        if model is None:
            return
        self._queued.observe((model,), attempt.queued_us / 1e6)
        self._attempts.values[model, attempt.outcome] += 1
        self._waits.observe((model,), attempt.took_us / 1e6)
        for kind in KINDS if usage is not None else ():
            count = getattr(usage, kind)
            if count:
                self._tokens.values[feature, model, kind] += count
        if attempt.cost_nano_usd is not None:
            self._cost.values[feature, model] += attempt.cost_nano_usd / 1e9
        elif usage is not None:
            self._unpriced.values[feature, model] += 1

    def render(self) -> bytes:
        """All metrics as text."""
        return generate_latest(self._registry)
