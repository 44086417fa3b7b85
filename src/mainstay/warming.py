"""Looks after models on inference servers of one's own: reads how long their queue is, and keeps them warm.

It lives in the event loop of `run_sync`, so that it holds up nobody, and only where the settings ask for it. A server's metrics
are read about once a second, one request at a time, while the model is asked, and no longer. Whatever goes wrong is as if nothing
were known. A model is warmed by the smallest request there is: a call like any other, with the origin `probe`, so it is recorded
and costs what it costs.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mainstay.core.model import Message, ModelRequest
from mainstay.core.project import Model
from mainstay.serve.ready import ServingModel
from mainstay.wire.vllm import queue_of

log = logging.getLogger("mainstay.models")
LOOK = 1.0  # seconds between two looks
PATIENCE = 1.0  # seconds that a server has to tell its metrics
LATELY = 10.0  # seconds after its last call for which a model's queue is of interest
PROBE = ModelRequest(messages=(Message("user", "ping"),), max_output=1)


class Warming:
    """Looks after the models that `models` gives (their settings, and what serves them), until it is cancelled."""

    def __init__(
        self,
        models: Callable[[], Mapping[str, tuple[Model, ServingModel]]],
        *,
        http: Any,
        ask: Callable[[str, ModelRequest], Awaitable[object]],
    ) -> None:
        self._models, self._http, self._ask = models, http, ask
        self._endpoints: dict[str, Any] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._began = time.monotonic()

    async def run(self) -> None:
        """Look after them. Never returns by itself."""
        try:
            while True:
                for name, (settings, serving) in self._models().items():
                    if name not in self._busy and (settings.metrics or settings.keep_warm or settings.cold_after):
                        task = self._busy[name] = asyncio.create_task(self._look_after(name, settings, serving))
                        task.add_done_callback(functools.partial(self._looked, name))
                await asyncio.sleep(LOOK)
        finally:
            for task in self._busy.values():
                task.cancel()

    def _looked(self, name: str, task: asyncio.Task[None]) -> None:
        self._busy.pop(name, None)

    async def _look_after(self, name: str, settings: Model, serving: ServingModel) -> None:
        """One look at one model."""
        try:
            if settings.metrics is not None:
                await self._read(settings, settings.metrics, serving)
            now = time.monotonic()
            idle = now - (serving.warmth.last or self._began)
            if serving.warmth.wanted or (settings.keep_warm is not None and idle >= settings.keep_warm):
                serving.warmth.wanted = False
                await self._ask(name, PROBE)
                serving.warmth.last = max(
                    serving.warmth.last or 0.0, now
                )  # also where it failed: the next time is after the same pause
        except Exception as error:  # which must not end the looking after
            log.warning("the model %s could not be looked after: %s: %s", name, type(error).__name__, error)

    async def _read(self, settings: Model, url: str, serving: ServingModel) -> None:
        """How long its queue is; 0 where nobody asks it, or its server does not say."""
        lanes = serving.lanes
        if not lanes.running and time.monotonic() - (serving.warmth.last or 0.0) > LATELY:
            lanes.elsewhere = 0.0
            return
        endpoint = self._endpoints.get(url)
        if endpoint is None:
            endpoint = self._endpoints[url] = self._http.endpoint(url, {})
        try:
            async with asyncio.timeout(PATIENCE):
                status, body = await endpoint.get()
            queue = queue_of(body.decode("utf-8", "replace"), settings.model) if status == 200 else None
        except Exception:
            queue = None
        lanes.told_queue(queue)
