"""One file of the spool: made with its blocks allocated, locked by its owner, mapped into memory to be appended to.

A file is called `PID-TIME-NUMBER.spool`; all files with the same `PID-TIME` are one process's, in the order of their numbers. It
is made under a name that ends in `.new`, so that nobody takes it before it is locked. Its unused end is zero bytes, which no
line of JSON holds. What it does not promise: on a file system that copies on write (ZFS), a full disk may show late.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from pathlib import Path

BATCH = 32 * 1024  # bytes read at a time; a longer line is read whole
CLOSED = -1  # the number of no file
FRESH = 60.0  # seconds in which a file without an owner may still be about to get one


class Segment:
    """`size` bytes are written and `place` of them are read; `open` are the calls it has begun and not ended."""

    __slots__ = ("_map", "_room", "_synced", "file", "open", "path", "place", "size")

    def __init__(self, path: Path, file: int, size: int = 0, room: int = 0) -> None:
        self.path, self.file, self.size, self._room = path, file, size, room
        self.place = self._synced = 0
        self.open: set[bytes] = set()
        self._map = mmap.mmap(file, room) if room else None

    @classmethod
    def make(cls, folder: Path, name: str, room: int) -> Segment:
        """A new file with this much room, locked. Raises `OSError` when the disk has no room for it."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{name}-{time.time_ns():x}.new"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _allocate(file, room)
            return cls(path, file, room=room)
        except OSError:
            os.close(file)
            path.unlink(missing_ok=True)
            raise

    @classmethod
    def take(cls, path: Path) -> Segment | None:
        """A dead process's file, locked; None while its owner lives, or when somebody else has taken it. Raises `OSError`."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        return cls(path, file, size=os.fstat(file).st_size)

    def enter(self, path: Path) -> None:
        """Give the file its lasting name: from now on it counts. Raises `OSError`."""
        self.path.rename(path)
        self.path = path

    def append(self, data: bytes) -> bool:
        """Copy the data to the end; false where it has no room."""
        end = self.size + len(data)
        if end > self._room or self._map is None:
            return False
        self._map[self.size : end] = data
        self.size = end
        return True

    def half_full(self) -> bool:
        """Whether it is time to have the next one ready."""
        return self.size > self._room // 2

    def read(self) -> bytes:
        """The next whole lines that were not read yet: at most `BATCH` bytes of them, or one line. Empty where there are none."""
        wanted = BATCH
        while True:
            unread = self.size - self.place
            data = os.pread(self.file, min(wanted, unread), self.place) if unread else b""
            lines = data[: data.rfind(b"\n") + 1]
            if lines or len(data) < wanted:
                return lines
            wanted *= 2

    def rest(self) -> bytes:
        """All that was not read yet."""
        return os.pread(self.file, self.size - self.place, self.place)

    def owes(self) -> bool:
        """Whether something in it is in no ledger yet: lines that were not read, or calls that have not ended."""
        return self.place < self.size or bool(self.open)

    def deleted(self) -> bool:
        """Whether somebody removed the file while it is in use."""
        return os.fstat(self.file).st_nlink == 0

    def unsynced(self) -> bool:
        """Whether a power cut would take something that no ledger has."""
        return self._synced < self.size and self.owes()

    def sync(self) -> None:
        """Bring to the disk what it owes."""
        if self.unsynced():
            size = self.size
            os.fsync(self.file)
            self._synced = size

    def close(self) -> None:
        """Let go of the file, and of its lock: nothing can be appended any more. A second time does nothing, because by then the
        file's number may be somebody else's.
        """
        self._room = self.size = self.place = 0
        self.open = set()
        if self._map is not None:
            self._map.close()
            self._map = None
        if self.file != CLOSED:
            file, self.file = self.file, CLOSED
            os.close(file)

    def remove(self) -> None:
        """Delete the file: all that it holds is in the ledger."""
        self.path.unlink(missing_ok=True)
        self.close()


def _allocate(file: int, room: int) -> None:
    """Give the file its blocks, so that a full disk shows now and not when the memory is written to."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, room)
        return
    for start in range(0, room, 1 << 20):  # macOS
        os.pwrite(file, bytes(min(1 << 20, room - start)), start)


def sweep(folder: Path) -> None:
    """Remove the files that a process was making when it died."""
    for path in folder.glob("*.new"):
        left = Segment.take(path)
        if left is not None:
            if time.time() - os.fstat(left.file).st_mtime > FRESH:
                path.unlink(missing_ok=True)
            left.close()
