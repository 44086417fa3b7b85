"""The record spool: append-only files of this process, drained into the ledger by a thread.

A line is one JSON value with the fields `is` (`begun`, `sealed` or `score`) and `id` first. The file is mapped into memory
with its blocks allocated beforehand: `append` is one copy into the page cache, without a system call and without letting go
of the interpreter. What it copied survives kill -9 of this process, and an fsync each second bounds what a power cut takes. A
full disk shows when a file is started, never in the middle of a record.

The thread pairs the halves of each record and writes them to the ledger. Reading the files of a dead process is the same
code; its unpaired halves become records with status `interrupted`, `process_died`. A file belongs to the process that holds its
lock (flock), and the kernel drops that lock with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from mainstay.core.answer import Answer
from mainstay.core.errors import StoreError
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Begun, Outcome
from mainstay.core.seams import Ledger, LedgerRow

log = logging.getLogger("mainstay.spool")

TICK = 0.1  # seconds between a first append and the batch that drains it
SYNC = 1.0  # seconds between fsyncs while there is something to sync
ADOPT = 15.0  # seconds between looks for the files of dead processes
SEGMENT = 16 * 1024 * 1024  # bytes of one file; a longer line gets a file of its own
BATCH = 256 * 1024  # bytes read at a time
OWED = 10_000  # lines kept in memory while the disk takes none


class _Head(msgspec.Struct, frozen=True):
    kind: str = msgspec.field(name="is")
    id: str


_head = msgspec.json.Decoder(_Head).decode
_begun = msgspec.json.Decoder(Begun).decode


class Segment:
    """One spool file: `size` bytes are written, `place` of them are read; `open` are the calls it has begun and not ended."""

    __slots__ = ("_map", "_room", "file", "open", "path", "place", "size")

    def __init__(self, path: Path, file: int, size: int, room: int = 0) -> None:
        self.path, self.file, self.size, self._room = path, file, size, room
        self.place = 0
        self.open: set[str] = set()
        self._map = mmap.mmap(file, room) if room else None

    def append(self, data: bytes) -> bool:
        """Copy the data to the end; false where it has no room."""
        end = self.size + len(data)
        if end > self._room or self._map is None:
            return False
        self._map[self.size : end] = data
        self.size = end
        return True

    def lines(self) -> list[bytes]:
        """The next whole lines that were not read yet, at most `BATCH` bytes of them or one line."""
        wanted = BATCH
        while True:
            data = os.pread(self.file, min(wanted, self.size - self.place), self.place)
            cut = data.rfind(b"\n") + 1
            if cut or len(data) < wanted:
                return data[:cut].splitlines(keepends=True) if cut else []
            wanted *= 2

    def close(self) -> None:
        """Let go of the file."""
        if self._map is not None:
            self._map.close()
        os.close(self.file)


class Tail:
    """Pairs the halves of one process's records, over all its files, and writes them to a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: dict[str, tuple[bytes, Segment]] = {}

    def drain(self, segment: Segment) -> None:
        """Write all that is new in the segment. Raises what the ledger raises; then nothing of the batch counts as read."""
        while lines := segment.lines():
            rows: list[LedgerRow] = []
            begun: dict[str, bytes] = {}
            done: list[str] = []
            for line in lines:
                head = _read(line, segment)
                if head is None:
                    continue
                body = line.rstrip()
                if head.kind == "begun":
                    begun[head.id] = body
                elif head.kind == "score":
                    rows.append(LedgerRow(head.id, score=body))
                else:
                    first = begun.get(head.id) or self._waiting.get(head.id, (None,))[0]
                    done.append(head.id)
                    if first is not None:
                        rows.append(LedgerRow(head.id, begun=first, sealed=body))
            self._ledger.write(rows)
            self._remember(begun, done, segment)
            segment.place += sum(map(len, lines))

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
        rows = [
            LedgerRow(id, begun=body, sealed=msgspec.json.encode(_died(_begun(body)))) for id, (body, _) in self._waiting.items()
        ]
        self._ledger.write(rows)
        self._waiting = {}
        return len(rows)


def _read(line: bytes, segment: Segment) -> _Head | None:
    try:
        return _head(line)
    except msgspec.DecodeError:
        if line.strip(b"\0\n"):
            log.error("%s: a line that is no record was passed over: %.200r", segment.path, line)
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
        self._owed: list[bytes] = []
        self._writing, self._draining = threading.Lock(), threading.Lock()
        self._work, self._stop = threading.Event(), threading.Event()
        self._synced = self._adopted = 0.0
        self.trouble = ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._segment = self._open(SEGMENT)
        except OSError as error:
            raise StoreError(f"the spool cannot be opened: {error}", where=str(folder), next="mainstay doctor") from error
        self._thread = threading.Thread(target=self._run, name="mainstay-spool", daemon=True)
        self._thread.start()

    def _open(self, room: int) -> Segment:
        path = self._folder / f"{self._name}-{next(self._numbers):06d}.spool"
        new = path.with_suffix(".new")  # nobody adopts it before it is locked
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(file, 0, room)
            new.rename(path)
            return Segment(path, file, 0, room)
        except OSError:
            os.close(file)
            new.unlink(missing_ok=True)
            raise

    def append(self, *lines: bytes) -> None:
        """In the kernel's hands when it returns. Raises `StoreError` when the disk will not take it."""
        data = b"\n".join((*lines, b""))
        with self._writing:
            if not self._segment.append(data):
                self._turn(data)
        if not self._work.is_set():
            self._work.set()

    def _turn(self, data: bytes) -> None:
        """The file is full: go on in a new one."""
        try:
            new = self._open(max(SEGMENT, len(data)))
        except OSError as error:
            self.trouble = str(error)
            raise StoreError(f"a record cannot be written: {error}", where=str(self._folder), next="mainstay doctor") from error
        new.append(data)
        self._full.append(self._segment)
        self._segment = new

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
        with self._writing:
            owed, self._owed = self._owed, []
        while owed:
            try:
                self.append(owed[0])
            except StoreError:
                with self._writing:
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
                    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                    stack.callback(os.close, file)
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (FileNotFoundError, BlockingIOError):
                    return 0
                segments.append(Segment(path, file, os.fstat(file).st_size))
            tail = Tail(self._ledger)
            for segment in segments:
                tail.drain(segment)
            orphans = tail.bury()
            for path in paths:
                path.unlink(missing_ok=True)
        log.info("took over %d file(s) of a dead process; %d call(s) had not ended", len(paths), orphans)
        return orphans

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # Linux: a thread has a niceness of its own; answers go first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
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
            self._segment.close()


def _remove(segment: Segment) -> None:
    segment.path.unlink(missing_ok=True)
    segment.close()
