"""`Idempotency-Key`: the same request sent again joins the call that runs, or gets the answer that there is, and costs nothing.

Such a call runs to its end when its reader leaves: whoever named the key comes back for the answer. What was answered stays for
`KEEP` seconds, over all processes of the machine and over restarts: the index says which call answers which key, the ledger holds
the answer. Where the ledger may not (the log policy is not `full`, or guards hide what is private), only this process's memory
does, for the `CAPACITY` latest; elsewhere the request is told that its answer is not there any more, and nothing runs again.

A failure is not kept: a call that ended `unavailable` or `interrupted`, or whose input was invalid, gives its key back, and the
next one under it runs. So does one whose process died: its record says `interrupted`, or it is long past its deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from hashlib import blake2b
from typing import Literal

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer, Event, Started
from mainstay.core.call import Call
from mainstay.core.errors import StoreError
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Record
from mainstay.parts.stores.sqlite_repeats import Held, SqliteRepeats
from mainstay.serve.pipeline import unfolded

KEEP = 86400.0
CAPACITY = 1000  # answers in memory
PATIENCE = 30.0  # seconds past its deadline after which a call of which nothing is heard is given up
LATE = 0.5  # seconds past its own deadline that a request waits for a call of another process
LOOK = 0.05, 0.5  # seconds between two looks at what another process does, at first and at most


class Joined(Struct, frozen=True):
    """The events of the call that answers a request; `again` says that an earlier request began it."""

    id: str
    again: bool
    events: AsyncGenerator[Event, None]


Trouble = Literal["reused", "running", "not_kept"]


class _Run:
    """One call under a key, while it runs here: its events until now, for any number of readers."""

    def __init__(self, id: str, body: bytes) -> None:
        self.id, self.body, self.loop = id, body, asyncio.get_running_loop()
        self.events: list[Event] = []
        self.over = False
        self.error: BaseException | None = None
        self._news = asyncio.Event()

    def tell(self) -> None:
        """Wake whoever reads."""
        self._news.set()
        self._news = asyncio.Event()

    async def read(self) -> AsyncGenerator[Event, None]:
        """Its events from the first on."""
        place = 0
        while True:
            while place < len(self.events):
                place += 1
                yield self.events[place - 1]
            if self.over:
                break
            await self._news.wait()
        if self.error is not None:
            raise StoreError("the call that this request joined was broken off") from self.error


class Repeats:
    """Answers requests that carry a key. `serve` gives the events of a call, `record` finds what became of one."""

    def __init__(
        self,
        store: SqliteRepeats,
        *,
        serve: Callable[[Call], AsyncGenerator[Event, None]],
        record: Callable[[str], Awaitable[Record | None]],
    ) -> None:
        self._store, self._serve, self._record = store, serve, record
        self._runs: dict[bytes, _Run] = {}
        self._kept: OrderedDict[str, Answer] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self, call: Call, key: bytes, body: bytes, *, seconds: float, private: bool) -> Joined | Trouble:
        """The call that answers this request: `call` itself, where it is the first under its tenant's key in `KEEP` seconds.

        `seconds` are those that the call may take at most. `reused` is a key that came with another body, `running` a call of
        another process that did not end in that time, `not_kept` one that was answered and whose answer may not be kept.
        """
        place = blake2b(key, key=blake2b(call.tenant.encode()).digest(), digest_size=20).digest()
        mine = Held(blake2b(body, key=blake2b(key).digest(), digest_size=20).digest(), call.id, 0.0, private)
        late, pause = time.monotonic() + seconds + LATE, LOOK[0]
        while True:
            run = self._runs.get(place)
            if run is not None and run.loop is asyncio.get_running_loop():
                return "reused" if run.body != mine.body else Joined(run.id, True, run.read())
            mine = msgspec.structs.replace(mine, busy=time.time() + seconds + PATIENCE)
            held = await asyncio.to_thread(self._store.claim, place, mine, keep=KEEP)
            if held is None:
                return self._begun(call, place, mine.body)
            if held.body != mine.body:
                return "reused"
            answer = self._kept.get(held.call)
            if answer is None and place not in self._runs:
                record = await self._record(held.call)
                if (record is None and time.time() > held.busy) or (record is not None and _fails(record.outcome.answer)):
                    await asyncio.to_thread(self._store.free, place, held.call)
                    continue
                if record is not None and held.private:
                    return "not_kept"
                answer = None if record is None else record.outcome.answer
            if answer is not None:
                return Joined(answer.id, True, _again(answer))
            if time.monotonic() > late:
                return "running"
            await asyncio.sleep(pause)
            pause = min(LOOK[1], pause * 2)

    def _begun(self, call: Call, place: bytes, body: bytes) -> Joined:
        run = self._runs[place] = _Run(call.id, body)
        task = asyncio.get_running_loop().create_task(self._follow(run, call, place))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Joined(call.id, False, run.read())

    async def _follow(self, run: _Run, call: Call, place: bytes) -> None:
        """Run the call to its end, whoever reads."""
        answer: Answer | None = None
        try:
            async with contextlib.aclosing(self._serve(call)) as events:
                async for event in events:
                    if isinstance(event, Answer):
                        answer = event
                        await self._ended(answer, place)  # before anybody is told: a retry at once finds it as it is
                    run.events.append(event)
                    run.tell()
        except BaseException as error:
            run.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            if answer is None:
                with contextlib.suppress(StoreError):
                    self._store.free(place, call.id)
            run.over = True
            del self._runs[place]
            run.tell()

    async def _ended(self, answer: Answer, place: bytes) -> None:
        if _fails(answer):
            with contextlib.suppress(StoreError):  # then the record says that it failed
                await asyncio.to_thread(self._store.free, place, answer.id)
            return
        self._kept[answer.id] = answer
        if len(self._kept) > CAPACITY:
            self._kept.popitem(last=False)

    async def close(self) -> None:
        """Cut off what still runs, so that it leaves its record, and let go of the file."""
        here = [task for task in list(self._tasks) if task.get_loop() is asyncio.get_running_loop()]
        for task in here:
            task.cancel()
        await asyncio.gather(*here, return_exceptions=True)
        self.close_sync()

    def close_sync(self) -> None:
        """Let go of the file."""
        self._store.close()


def _fails(answer: Answer) -> bool:
    """Whether the next request under the key runs anew."""
    if answer.status is Status.REFUSED:
        return answer.reason is Reason.INPUT_INVALID
    return answer.status in (Status.UNAVAILABLE, Status.INTERRUPTED)


async def _again(answer: Answer) -> AsyncGenerator[Event, None]:
    """The events that amount to an answer which was given before."""
    yield Started(answer.id, answer.feature, answer.release)
    for event in unfolded(answer):
        yield event
    yield answer
