"""Prometheus metrics out of sealed records.

Names follow the Prometheus conventions: base units, `_total` on counters. No tenant, user or text is ever a label. Our own
overhead is apart from the provider's time, so that a slow model is not blamed on Mainstay nor the reverse.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from mainstay.core.record import Attempt, Record

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
MICRO = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)


class Prometheus:
    """The observer. `render` gives the text that `/metrics` answers."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._calls = _Cached(Counter("mainstay_calls", "Calls that ended.", ["feature", "status", "reason", "rung"], registry=registry))
        self._seconds = _Cached(Histogram("mainstay_call_seconds", "From the call to its answer.", ["feature"], registry=registry, buckets=SECONDS))
        self._first = _Cached(Histogram("mainstay_first_word_seconds", "From the call to its first word.", ["feature"], registry=registry, buckets=SECONDS))
        self._overhead = _Cached(
            Histogram("mainstay_overhead_seconds", "Our own part of a call: all but the waiting for models.", ["feature"], registry=registry, buckets=MICRO)
        )
        self._attempts = _Cached(Counter("mainstay_model_attempts", "Attempts at models.", ["model", "outcome"], registry=registry))
        self._waits = _Cached(Histogram("mainstay_model_seconds", "From an attempt's start to its end.", ["model"], registry=registry, buckets=SECONDS))
        self._tokens = _Cached(Counter("mainstay_tokens", "Tokens, by class.", ["feature", "model", "kind"], registry=registry))
        self._cost = _Cached(Counter("mainstay_cost_usd", "Money spent on models, where the price is known.", ["feature", "model"], registry=registry))
        self._unpriced = _Cached(Counter("mainstay_unpriced_attempts", "Attempts whose price is unknown.", ["feature", "model"], registry=registry))
        self._guards = _Cached(Counter("mainstay_guard_verdicts", "Verdicts other than allow.", ["guard", "stage", "action"], registry=registry))

    def observe(self, record: Record) -> None:
        call, outcome = record.begun.call, record.outcome
        answer, feature = outcome.answer, call.feature
        if call.origin != "user":
            return
        self._calls(feature, answer.status, answer.reason or "", answer.rung or "").inc()
        self._seconds(feature).observe(outcome.took_us / 1e6)
        if outcome.shared_with is None:
            self._overhead(feature).observe((outcome.took_us - outcome.provider_us) / 1e6)
        if outcome.first_word_us is not None:
            self._first(feature).observe(outcome.first_word_us / 1e6)
        for attempt in outcome.attempts:
            self._observe_attempt(feature, attempt)
        for note in outcome.guards:
            self._guards(note.guard, note.stage, note.action).inc()

    def _observe_attempt(self, feature: str, attempt: Attempt) -> None:
        if attempt.model is None:
            return
        model, usage = attempt.model, attempt.usage
        self._attempts(model, attempt.outcome).inc()
        self._waits(model).observe(attempt.took_us / 1e6)
        if usage is None:
            return
        self._tokens(feature, model, "input").inc(usage.input)
        self._tokens(feature, model, "output").inc(usage.output)
        if usage.cached_input:
            self._tokens(feature, model, "cached_input").inc(usage.cached_input)
        if usage.reasoning:
            self._tokens(feature, model, "reasoning").inc(usage.reasoning)
        if attempt.cost_nano_usd is None:
            self._unpriced(feature, model).inc()
        else:
            self._cost(feature, model).inc(attempt.cost_nano_usd / 1e9)

    def render(self) -> bytes:
        """All metrics as text."""
        return generate_latest(self._registry)


class _Cached:
    """A metric whose children are looked up once a label set: the library's own look-up costs a lock and a sort."""

    __slots__ = ("_children", "_metric")

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], Any] = {}

    def __call__(self, *labels: str) -> Any:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child
