"""The record spool: append-only files of this process, drained into the ledger by a thread.

A line is one JSON value with the fields `is` (`begun`, `sealed` or `score`) and `id` first. The file is mapped into memory
with its blocks allocated beforehand (`segments.py`): `append` is one copy into the page cache, without a system call and without
letting go of the interpreter. What it copied survives kill -9 of this process, and an fsync each second bounds what a power cut
takes. A full disk shows when a file is started, never in the middle of a record.

The thread pairs the halves of each record and writes them to the ledger (`tail.py`). Reading the files of a dead process is the
same code; its unpaired halves become records with status `interrupted`, `process_died`. A file belongs to the process that holds
its lock (flock), and the kernel drops that lock with the process.

What it does not do: run on Windows, or in a child that was forked from the process that opened it; there it takes nothing and
leaves the parent's files alone. Whoever truncates a file in use ends the process that uses it (SIGBUS).
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mainstay.core.errors import StoreError
from mainstay.core.seams import Ledger
from mainstay.parts.stores.segments import Segment, sweep
from mainstay.parts.stores.tail import Tail

log = logging.getLogger("mainstay.spool")

TICK = 0.1  # seconds between a first append and the batch that drains it
REST = 0.001  # seconds between two batches: on a busy core a thread is not interrupted before some milliseconds are over
SYNC = 1.0  # seconds between fsyncs while there is something to sync
ADOPT = 15.0  # seconds between looks for the files of dead processes
AGAIN = 1.0  # seconds until what failed is tried again
STUCK = 30.0  # seconds that closing waits for a disk that does not answer
SEGMENT = 16 * 1024 * 1024  # bytes of one file; a longer line gets a file of its own
OWED = 64 * 1024 * 1024  # bytes kept in memory while the disk takes none
TOLD = {  # what failed, in the order of its weight, and what that means
    "disk": "the disk takes no more records, so no model is asked",
    "ledger": "the ledger takes no records; they wait in the spool",
    "fsync": "records survive the end of the process, not a power cut",
}
UNTOLD = {
    "owed": "records wait in memory",
    "spare": "the spool cannot go on for long",
    "adoption": "the records of dead processes wait in the spool",
    "also": "other processes do not see what this one cached",
}


class Spool:
    """This process's spool and the thread that drains it.

    `also` is called by the same thread at each tick: other stores flush there what they hold. `adopt_every` is how often, in
    seconds, the files of dead processes are looked for. Raises `StoreError` when no file can be opened.
    """

    def __init__(
        self, folder: Path, ledger: Ledger, *, also: Callable[[], None] = lambda: None, adopt_every: float = ADOPT
    ) -> None:
        self._folder, self._ledger, self._also, self._adopt_every = folder, ledger, also, adopt_every
        self._name, self._numbers = f"{os.getpid()}-{time.time_ns():x}", itertools.count()
        self._tail = Tail(ledger, folder)
        self._full: list[Segment] = []
        self._spare: Segment | None = None
        self._owed: deque[bytes] = deque()
        self._owed_bytes = 0
        self._writing, self._draining = threading.Lock(), threading.Lock()
        self._work, self._stop = threading.Event(), threading.Event()
        self._again = self._synced = self._adopted = 0.0
        self._troubles: dict[str, str] = {}
        self._closed = self._foreign = False
        try:
            self._segment = self._fresh(SEGMENT)
        except OSError as error:
            raise StoreError(f"the spool cannot be opened: {error}", where=str(folder), next="mainstay doctor") from error
        _spools.add(self)
        self._thread = threading.Thread(target=self._run, name="mainstay-spool", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why the ledger or the disk takes nothing at the moment; empty when all is well."""
        return next((f"{what}: {self._troubles[name]}" for name, what in TOLD.items() if name in self._troubles), "")

    # Writing

    def append(self, *lines: bytes) -> None:
        """In the kernel's hands when it returns. A line holds no line break. Raises `StoreError` when the disk takes nothing."""
        data = b"\n".join((*lines, b""))
        with self._writing:
            if not self._segment.append(data):
                self._put(data)
        if not self._work.is_set():
            self._work.set()

    def owe(self, *lines: bytes) -> None:
        """Keep these until the disk takes them again; beyond 64 MB the oldest are lost, loudly."""
        with self._writing:
            self._owed.append(b"\n".join((*lines, b"")))
            self._owed_bytes += len(self._owed[-1])
            while self._owed_bytes > OWED:
                self._owed_bytes -= len(self._owed.popleft())
                log.critical("a record is lost: the disk takes none, and %d MB of them wait in memory", OWED >> 20)
        self._work.set()

    def _put(self, data: bytes) -> None:
        if not self._segment.append(data):
            self._turn(len(data))
            self._segment.append(data)
            if self._closed:  # the last words of a call that outlived the spool: for the next start to find
                self._segment.close()

    def _turn(self, room: int) -> None:
        """The file is full: go on in a new one. A disk that had no room a moment ago is not asked again."""
        if self._foreign:
            raise StoreError("this process was forked from the one that writes here", next="open the project after the fork")
        now = time.monotonic()
        if now < self._again:
            raise StoreError(f"a record cannot be written: {self._troubles.get('disk')}", where=str(self._folder))
        try:
            new = self._fresh(room if self._closed else max(SEGMENT, room))
        except OSError as error:
            self._again = now + AGAIN
            self._ill("disk", error)
            raise StoreError(f"a record cannot be written: {error}", where=str(self._folder), next="mainstay doctor") from error
        self._well("disk")
        if not self._closed:
            self._full.append(self._segment)
        self._segment = new

    def _fresh(self, room: int) -> Segment:
        """A new file of ours: the spare one, if it will do. Raises `OSError`."""
        spare, self._spare = self._spare, None
        if spare is not None:
            with suppress(OSError):
                if room <= SEGMENT:
                    spare.enter(self._next_path())
                    return spare
            spare.remove()
        new = Segment.make(self._folder, self._name, room)
        new.enter(self._next_path())
        return new

    def _next_path(self) -> Path:
        return self._folder / f"{self._name}-{next(self._numbers):06d}.spool"

    # Draining

    def drain(self, *, rest: float = 0.0) -> None:
        """Bring the ledger up to date with everything appended so far. Raises `StoreError` if it cannot take it.

        With `rest`, after every batch the processor is left to others for so many seconds.
        """
        with self._draining:
            for segment in self._segments():
                self._tail.drain(segment, rest=rest)
            for segment in self._segments()[:-1]:
                if not segment.owes():
                    with self._writing:
                        self._full.remove(segment)
                    segment.remove()

    def _segments(self) -> list[Segment]:
        """Our files, the oldest first. Both ends of a record are found in this order, whatever is appended meanwhile."""
        with self._writing:
            return [*self._full, self._segment]

    def adopt(self) -> int:
        """Bring in the files of dead processes; gives the number of calls that they left unfinished. Raises `StoreError`."""
        self._adopted = time.monotonic()
        with self._draining:
            sweep(self._folder)
            theirs = [p for p in sorted(self._folder.glob("*.spool")) if not p.name.startswith(f"{self._name}-")]
            groups = itertools.groupby(theirs, key=lambda p: p.name.rpartition("-")[0])
            return sum(self._adopt(list(paths)) for _, paths in groups)

    def _adopt(self, paths: list[Path]) -> int:
        """The files of one process, if it is dead and nobody else has taken them."""
        taken: list[Segment] = []
        try:
            for path in paths:
                segment = Segment.take(path)
                if segment is None:
                    return 0
                taken.append(segment)
            tail = Tail(self._ledger, self._folder)
            for segment in taken:
                tail.drain(segment)
            orphans = tail.bury()
            for path in paths:
                path.unlink(missing_ok=True)
        except OSError as error:
            log.error("the files %s* of a dead process cannot be read: %s", paths[0], error)
            return 0
        finally:
            for segment in taken:
                segment.close()
        log.info("took over %d file(s) of a dead process; %d call(s) had not ended", len(paths), orphans)
        return orphans

    # The thread

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # Linux: a thread has a niceness of its own; answers go first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while True:
            unsynced = any(segment.unsynced() for segment in self._segments())
            self._work.wait(min(SYNC, self._adopt_every) if unsynced else self._adopt_every)
            if self._stop.wait(TICK):
                return
            self._work.clear()
            if not self._tick():
                self._work.set()
                if self._stop.wait(AGAIN):
                    return

    def _tick(self) -> bool:
        """Every duty once, each on its own; false if one of them failed."""
        done = [self._tried("owed", self._pay), self._tried("ledger", self._drain_gently), self._tried("also", self._also)]
        done.append(self._tried("spare", self._prepare))
        now = time.monotonic()
        if now - self._synced >= SYNC:
            self._synced = now
            done.append(self._tried("fsync", self._sync))
        if now - self._adopted >= self._adopt_every:
            done.append(self._tried("adoption", self._look))
        return all(done)

    def _drain_gently(self) -> None:
        self.drain(rest=REST)

    def _tried(self, name: str, duty: Callable[[], None]) -> bool:
        try:
            duty()
        except Exception as error:  # whatever it is: the spool has everything, so try again
            self._ill(name, error)
            return False
        self._well(name)
        return True

    def _ill(self, name: str, error: Exception) -> None:
        if name not in self._troubles:
            log.error("%s: %s", (TOLD | UNTOLD)[name], error, exc_info=not isinstance(error, StoreError | OSError))
        self._troubles[name] = str(error) or type(error).__name__

    def _well(self, name: str) -> None:
        if self._troubles.pop(name, None) is not None:
            log.warning("over: %s", (TOLD | UNTOLD)[name])

    def _pay(self) -> None:
        while self._owed:
            with self._writing:
                self._put(self._owed[0])
                self._owed_bytes -= len(self._owed.popleft())

    def _prepare(self) -> None:
        """Have the next file ready before this one is full, and notice when the disk has room again."""
        if self._spare is None and (self._segment.half_full() or "disk" in self._troubles):
            spare = Segment.make(self._folder, self._name, SEGMENT)
            with self._writing:
                self._spare, self._again = spare, 0.0
            self._well("disk")

    def _sync(self) -> None:
        with self._draining:
            if any(segment.deleted() for segment in self._segments()):
                self._rescue()
            for segment in self._segments():
                segment.sync()

    def _rescue(self) -> None:
        """Somebody deleted files of ours: write what no ledger has yet into a new one."""
        log.error("spool files were deleted while in use: %s; going on in a new one", self._folder)
        with self._writing:
            self._turn(SEGMENT)
            for segment in [s for s in self._full if s.deleted()]:
                self._put(self._tail.waiting(segment) + segment.rest())
                segment.place = segment.size

    def _look(self) -> None:
        self.adopt()

    # Ending

    def close(self) -> None:
        """Drain, and remove what is drained. What cannot be stays on disk for the next process."""
        if self._foreign or self._closed:
            return
        self._stop.set()
        self._work.set()
        self._thread.join(timeout=STUCK)
        if self._thread.is_alive():
            log.error("the disk does not answer; what is in %s is left for the next start", self._folder)
            return
        for name, duty in (("owed", self._pay), ("ledger", self.drain), ("also", self._also)):
            self._tried(name, duty)
        with self._draining, self._writing:
            self._closed = True
            if self._owed:
                log.critical("%d record(s) are lost: the disk takes none", len(self._owed))
            for segment in [*self._full, self._segment]:
                if segment.owes():
                    with suppress(OSError):
                        segment.sync()
                    segment.close()
                else:
                    segment.remove()
            self._full = []
            if self._spare is not None:
                self._spare.remove()

    def _disown(self) -> None:
        """This is a child that was forked: the files, and the thread, are the parent's."""
        self._writing, self._draining = threading.Lock(), threading.Lock()
        for segment in [*self._full, self._segment, *([self._spare] if self._spare else [])]:
            segment.close()
        self._full, self._spare, self._foreign = [], None, True


_spools: weakref.WeakSet[Spool] = weakref.WeakSet()


def _disown_all() -> None:
    for spool in _spools:
        spool._disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
