"""A second attempt when the first word is late: the first to speak answers, the other is cancelled and its cost settled.

J. Dean, L. A. Barroso, "The Tail at Scale" (2013). It is for the rare slow answer of a model that is well, so nothing is hedged
under pressure: where the second attempt would queue, where a breaker is not closed, where less than the usual time is left, and
where one in ten attempts was followed by a second already. The time of the first counts from when it was let in. Both reserve
money and stand on the record like any other; what was overtaken is settled at a marked estimate.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from mainstay.core.model import Chunk
from mainstay.serve.asking import LETTING_GO, Ask, tempo_key
from mainstay.serve.ready import ServingModel
from mainstay.serve.watch import Watch

LEAST = 0.01  # seconds; earlier than that, no word is late
RINGS_EARLY = 0.002  # seconds by which a timer may
Attempted = Callable[[Ask], AsyncGenerator[Chunk, None]]


class Racer:
    """One of the two attempts, in a task of its own with a watchdog of its own."""

    def __init__(self, attempted: Attempted, ask: Ask, news: asyncio.Event) -> None:
        self.ask, self._news = copy.copy(ask), news
        self.ask.began = None
        self.chunks: deque[Chunk] = deque()
        self.error: BaseException | None = None
        self.spoke = self.over = self._stopped = False
        self.task = asyncio.get_running_loop().create_task(self._run(attempted))

    async def _run(self, attempted: Attempted) -> None:
        try:
            with Watch() as self.ask.watch:
                async with aclosing(attempted(self.ask)) as chunks:
                    async for chunk in chunks:
                        self.chunks.append(chunk)
                        self.spoke = self.spoke or bool(chunk.text or chunk.tool_calls or chunk.reasoning or chunk.refusal)
                        self._news.set()
        except Exception as error:
            self.error = error
        finally:
            self.over = True
            self._news.set()

    def stop(self, *, guarded: bool, overtaken: bool) -> None:
        """Let it go, if it still runs; the record says why."""
        if not (self.over or self._stopped):
            self._stopped = True
            self.ask.guarded, self.ask.overtaken = guarded, overtaken
            self.task.cancel()


async def hedged(
    first: Attempted, second: Attempted, models: tuple[ServingModel, ServingModel], ask: Ask, *, rung: str, after: float | None
) -> AsyncGenerator[Chunk, None]:
    """As `attempt`, twice where the first word of the first has not come `after` so many seconds; None is the model's own p95."""
    late = models[0].tempo.late(tempo_key(ask, rung)) if after is None else after
    late = None if late is None else max(late, LEAST)
    models[0].tempo.began()
    news, winner = asyncio.Event(), None
    racers = [Racer(first, ask, news)]
    ask.watch.until(ask.limit + 2 * LETTING_GO)  # each attempt has a watchdog that rings before
    try:
        winner = await _winner(racers, second, models, ask, news, late)
        ask.queued += winner.ask.queued
        for racer in racers:
            if racer is not winner:
                racer.stop(guarded=False, overtaken=True)
        while winner.chunks or not winner.over:
            while winner.chunks:
                yield winner.chunks.popleft()
            if not winner.over:
                news.clear()
                await news.wait()
        if winner.error is not None:
            raise winner.error
    finally:
        for racer in racers:
            racer.stop(guarded=ask.guarded, overtaken=False)
        ask.watch.until(time.monotonic() + 4 * LETTING_GO)
        await asyncio.wait([racer.task for racer in racers], timeout=2 * LETTING_GO)
        ask.watch.until(ask.limit)


async def _winner(
    racers: list[Racer],
    second: Attempted,
    models: tuple[ServingModel, ServingModel],
    ask: Ask,
    news: asyncio.Event,
    late: float | None,
) -> Racer:
    """Who speaks first; the first of them, where both end without a word."""
    loop, first, began = asyncio.get_running_loop(), racers[0], time.monotonic()
    timer = None if late is None else loop.call_later(late, news.set)
    try:
        while True:
            spoken = next((racer for racer in racers if racer.spoke), None)
            if spoken is not None or all(racer.over for racer in racers):
                return spoken or first
            now = time.monotonic()
            if late is not None and timer is not None and now >= began + late - RINGS_EARLY:
                began = first.ask.began or now  # one that still queues has its time before it
                if now < began + late - RINGS_EARLY:
                    timer = loop.call_later(began + late - now, news.set)
                else:
                    late = None
                    if _may(models, ask, now):
                        racers.append(Racer(second, ask, news))
            news.clear()
            await news.wait()
    finally:
        if timer is not None:
            timer.cancel()


def _may(models: tuple[ServingModel, ServingModel], ask: Ask, now: float) -> bool:
    """Whether a second attempt helps and harms nobody."""
    usual = ask.usual or models[1].lanes.usual or 0.0
    return (
        ask.call.origin == "user"
        and all(model.breaker.state == "closed" for model in models)
        and models[1].lanes.room
        and ask.limit - now > usual
        and models[0].tempo.may_hedge()
    )
