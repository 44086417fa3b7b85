"""The record spool: append-only files of this process, drained into the ledger by a thread.

A line is one JSON value with the fields `is` (`begun`, `sealed` or `score`) and `id` first. `append` is one `write` to a file
opened for appending, so what it wrote survives kill -9 of this process at once; an fsync each second bounds what a power cut
takes. The thread tails the files, pairs the halves of each record and writes them to the ledger. Reading the files of a dead
process is the same code; its unpaired halves become records with status `interrupted`, `process_died`. A file belongs to
the process that holds its lock (flock), and the kernel drops that lock with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from mainstay.core.answer import Answer
from mainstay.core.errors import StoreError
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Begun, Outcome
from mainstay.core.seams import Ledger

log = logging.getLogger("mainstay.spool")

TICK = 0.1  # seconds between a first append and the batch that drains it
SYNC = 1.0  # seconds between fsyncs while there is something to sync
ADOPT = 15.0  # seconds between looks for the files of dead processes
SEGMENT = 32 * 1024 * 1024  # bytes after which a new file is started
BATCH = 500  # lines a transaction
OWED = 10_000  # lines kept in memory while the disk takes none


class Line(msgspec.Struct, frozen=True):
    """The head of a line, and all its bytes."""

    kind: str = msgspec.field(name="is")
    id: str
    body: bytes = b""


_head = msgspec.json.Decoder(Line).decode
_begun = msgspec.json.Decoder(Begun).decode


class Segment:
    """One spool file, and how far it has been read."""

    __slots__ = ("file", "open", "path", "place")

    def __init__(self, path: Path, file: int) -> None:
        self.path, self.file = path, file
        self.place = 0
        self.open: set[str] = set()

    def lines(self) -> Iterable[list[bytes]]:
        """Batches of whole lines that were not read yet. A last line without its end is still being written, or torn."""
        with self.path.open("rb") as file:
            file.seek(self.place)
            while lines := [line for line in itertools.islice(file, BATCH) if line.endswith(b"\n")]:
                yield lines
                self.place += sum(map(len, lines))


class Tail:
    """Pairs the halves of one process's records, over all its segments, and writes them to a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: dict[str, tuple[bytes, Segment]] = {}

    def drain(self, segment: Segment) -> None:
        """Write all that is new in the segment. Raises what the ledger raises; then nothing of the batch counts as read."""
        for lines in segment.lines():
            rows: list[Line] = []
            begun: dict[str, bytes] = {}
            done: list[str] = []
            for body in lines:
                head = _read(body, segment)
                if head is None:
                    continue
                if head.kind == "begun":
                    begun[head.id] = body.rstrip()
                    continue
                if head.kind == "sealed":
                    first = begun.get(head.id) or self._waiting.get(head.id, (None,))[0]
                    rows += [Line("begun", head.id, first)] if first is not None else []
                    done.append(head.id)
                rows.append(Line(head.kind, head.id, body.rstrip()))
            self._ledger.write(rows)
            self._remember(begun, done, segment)

    def _remember(self, begun: dict[str, bytes], done: list[str], segment: Segment) -> None:
        for id, body in begun.items():
            self._waiting[id] = (body, segment)
            segment.open.add(id)
        for id in done:
            waiting = self._waiting.pop(id, None)
            if waiting is not None:
                waiting[1].open.discard(id)

    def bury(self) -> int:
        """The process is dead: what it had begun and not sealed becomes interrupted records. Gives their number."""
        rows = []
        for id, (body, _) in self._waiting.items():
            rows += [Line("begun", id, body), Line("sealed", id, msgspec.json.encode(_died(_begun(body))))]
        self._ledger.write(rows)
        self._waiting = {}
        return len(rows) // 2


def _read(body: bytes, segment: Segment) -> Line | None:
    try:
        return _head(body)
    except msgspec.DecodeError:
        if body.strip():
            log.error("%s: a line that is no record was passed over: %.200r", segment.path, body)
        return None


def _died(begun: Begun) -> Outcome:
    answer = Answer(
        id=begun.id, feature=begun.call.feature, release=begun.release, status=Status.INTERRUPTED, reason=Reason.PROCESS_DIED
    )
    return Outcome(id=begun.id, answer=answer, took_us=0, cost_nano_usd=None)


class Spool:
    """This process's spool and the thread that drains it.

    `also` is called by the same thread at each tick: other stores flush there what they hold. `trouble` says why the ledger or
    the disk takes nothing at the moment.
    """

    def __init__(self, folder: Path, ledger: Ledger, *, also: Callable[[], None] = lambda: None) -> None:
        self._folder, self._ledger, self._also = folder, ledger, also
        self._name, self._numbers = f"{os.getpid()}-{time.time_ns():x}", itertools.count()
        self._tail = Tail(ledger)
        self._full: list[Segment] = []
        self._size = 0
        self._owed: list[bytes] = []
        self._writing, self._draining = threading.Lock(), threading.Lock()
        self._work, self._stop = threading.Event(), threading.Event()
        self._synced = self._adopted = 0.0
        self.trouble = ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._segment = self._open()
        except OSError as error:
            raise StoreError(f"the spool cannot be opened: {error}", where=str(folder), next="mainstay doctor") from error
        self._thread = threading.Thread(target=self._run, name="mainstay-spool", daemon=True)
        self._thread.start()

    def _open(self) -> Segment:
        path = self._folder / f"{self._name}-{next(self._numbers):06d}.spool"
        new = path.with_suffix(".new")  # nobody adopts it before it is locked
        file = os.open(new, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(path)
        self._size = 0
        return Segment(path, file)

    def append(self, *lines: bytes) -> None:
        """In the kernel's hands when it returns. Raises `StoreError` when the disk will not take it."""
        data = b"\n".join(lines) + b"\n"
        with self._writing:
            try:
                if self._size > SEGMENT:
                    full, self._segment = self._segment, self._open()
                    self._full.append(full)
                written = os.write(self._segment.file, data)
                if written != len(data):
                    os.write(self._segment.file, b"\n")  # ends the torn line, so that the next one is whole
                    raise OSError(f"only {written} of {len(data)} bytes were taken")
            except OSError as error:
                self.trouble = str(error)
                raise StoreError(f"a record cannot be written: {error}", where=str(self._folder), next="mainstay doctor") from error
            self._size += written
        if not self._work.is_set():
            self._work.set()

    def owe(self, *lines: bytes) -> None:
        """Keep these until the disk takes them again; beyond 10,000 the oldest are lost, loudly."""
        with self._writing:
            self._owed += lines
            if len(self._owed) > OWED:
                log.critical("%d lines of records are lost: the disk takes none and memory is full", len(self._owed) - OWED)
                del self._owed[:-OWED]
        self._work.set()

    def drain(self) -> None:
        """Bring the ledger up to date with everything appended so far. Raises `StoreError` if it cannot take it."""
        with self._draining:
            self._pay()
            for segment in [*self._full, self._segment]:
                self._tail.drain(segment)
            for segment in [s for s in self._full if not s.open]:
                self._full.remove(segment)
                _remove(segment)

    def _pay(self) -> None:
        owed, self._owed = self._owed, []
        while owed:
            try:
                self.append(owed[0])
            except StoreError:
                self._owed = owed + self._owed
                raise
            owed.pop(0)

    def adopt(self) -> int:
        """Bring in the files of dead processes; gives the number of calls that they left unfinished."""
        self._adopted = time.monotonic()
        theirs = [p for p in sorted(self._folder.glob("*.spool")) if not p.name.startswith(self._name)]
        groups = itertools.groupby(theirs, key=lambda p: p.name.rpartition("-")[0])
        return sum(self._adopt(list(paths)) for _, paths in groups)

    def _adopt(self, paths: list[Path]) -> int:
        """The files of one process, if it is dead and nobody else has taken them."""
        with contextlib.ExitStack() as stack:
            segments = []
            for path in paths:
                try:
                    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    stack.callback(os.close, file)
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (FileNotFoundError, BlockingIOError):
                    return 0
                segments.append(Segment(path, file))
            tail = Tail(self._ledger)
            for segment in segments:
                tail.drain(segment)
            orphans = tail.bury()
            for path in paths:
                path.unlink(missing_ok=True)
        log.info("took over %d file(s) of a dead process; %d call(s) had not ended", len(paths), orphans)
        return orphans

    def _run(self) -> None:
        while not self._stop.is_set():
            self._work.wait(ADOPT)
            if self._stop.wait(TICK):
                return
            self._work.clear()
            try:
                self._tick()
                self.trouble = ""
            except Exception as error:  # whatever the ledger says: the spool has everything, so try again
                if not self.trouble:
                    log.exception("records wait in %s", self._folder)
                self.trouble = str(error) or type(error).__name__
                self._stop.wait(1.0)
                self._work.set()

    def _tick(self) -> None:
        self.drain()
        self._also()
        now = time.monotonic()
        if now - self._synced >= SYNC:
            os.fsync(self._segment.file)
            self._synced = now
        if now - self._adopted >= ADOPT:
            self.adopt()

    def close(self) -> None:
        """Drain, and remove what is drained. What cannot be stays on disk for the next process."""
        self._stop.set()
        self._work.set()
        self._thread.join(timeout=5)
        with contextlib.suppress(Exception):
            self.drain()
            self._also()
            if not self._segment.open and not self._owed:
                _remove(self._segment)
                return
        with contextlib.suppress(OSError):
            os.fsync(self._segment.file)
            os.close(self._segment.file)


def _remove(segment: Segment) -> None:
    segment.path.unlink(missing_ok=True)
    os.close(segment.file)
