"""Embedders, rerankers and classifiers that cost money spend it from the account of the call that they are asked for.

Their seams know nothing of calls, so the call is found by a context variable, which `Charged` sets, and nothing else does.
What they are asked costs its UTF-8 bytes as tokens, an upper estimate, because their answers do not say what they took.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from mainstay.core.errors import ModelError, OverLimit
from mainstay.core.reasons import Reason
from mainstay.core.record import Attempt
from mainstay.core.units import Usd
from mainstay.serve.pricing import MILLION, may_cost
from mainstay.serve.spending import Short
from mainstay.serve.tracing import Trace

FRAME = 16  # tokens that a text may have beside its own
T = TypeVar("T")
_call: contextvars.ContextVar[Trace | None] = contextvars.ContextVar("mainstay_call", default=None)


class Charged:
    """`with Charged(trace):` whatever is asked meanwhile, in this task and in those that it starts, is charged to this call."""

    __slots__ = ("_before", "_trace")

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __enter__(self) -> None:
        self._before = _call.set(self._trace)

    def __exit__(self, *_: object) -> None:
        _call.reset(self._before)


class Metered:
    """A service with its price, in nano-dollars per million tokens; None where it is not known. Otherwise it is as it was.

    Where no call is being served, as when a source is indexed, nothing is charged.
    """

    def __init__(self, part: Any, *, name: str, kind: str, price: Usd | None) -> None:
        self._part, self._name, self._kind, self._price = part, name, kind, price

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """As the embedder's own. Raises `OverLimit` too."""
        vectors: list[Sequence[float]] = await self._charged(lambda: self._part.embed(texts), texts)
        return vectors

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """As the reranker's own: it reads the question with every text. Raises `OverLimit` too."""
        scores: list[float] = await self._charged(lambda: self._part.score(query, texts), [*texts, *[query] * len(texts)])
        return scores

    async def classify(self, texts: Sequence[str]) -> list[Any]:
        """As the classifier's own. Raises `OverLimit` too."""
        labels: list[Any] = await self._charged(lambda: self._part.classify(texts), texts)
        return labels

    async def _charged(self, work: Callable[[], Awaitable[T]], texts: Sequence[str]) -> T:
        trace = _call.get()
        if trace is not None and self._price is None and trace.account.pays:
            what = f"what {self._name} costs is not known, and it is limited here"
            trace.skipped(self._kind, Reason.OVER_BUDGET.value, what)
            raise OverLimit(what, Reason.OVER_BUDGET)
        if trace is None or self._price is None or not texts:
            return await work()
        tokens = sum([FRAME + len(text.encode("utf-8", "surrogatepass")) for text in texts])
        cost = -(-tokens * self._price // MILLION)
        reserved = await trace.account.reserve(cost=cost, tokens=tokens)
        if isinstance(reserved, Short):
            trace.skipped(self._kind, reserved.reason.value, reserved.what)
            raise OverLimit(reserved.what, reserved.reason)
        began, outcome, spent = time.monotonic(), "abandoned", True
        try:
            found = await work()
            outcome = "ok"
        except ModelError as error:
            outcome, spent = error.kind, may_cost(error)
            raise
        finally:
            reserved.settle(cost=cost if spent else 0, tokens=tokens if spent else 0)
            trace.attempts.append(
                Attempt(
                    rung=self._kind,
                    outcome=outcome,
                    model=self._name,
                    at_us=trace.since_start(began),
                    took_us=int((time.monotonic() - began) * 1e6),
                    cost_nano_usd=cost if spent else 0,
                    estimated=spent,
                )
            )
        return found
