"""Parses documents without trusting them: most kinds in one warm process with limits of time, memory and output.

A document that hangs, bursts or crashes its parser costs that process and a line in the report; the next document gets a new
one. Markdown and plain text of ordinary size are parsed here: there is nothing in them to unpack.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from types import TracebackType

import msgspec

from mainstay.core.errors import SourceError
from mainstay.parts import media
from mainstay.parts.parsing import worker
from mainstay.parts.parsing.documents import Parsed, kind_of, parse

SECONDS = 20.0  # for one document, by the clock
AT_HOME = 100_000  # bytes of Markdown or text that are parsed in this process

_START = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from mainstay.parts.parsing.worker import main
main(int(sys.argv[2]))
"""


class Parser:
    """`with Parser() as parser: parser.parse(media, data)`; from one thread at a time.

    `seconds` is how long one document may take.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def parse(self, written: str, data: bytes) -> Parsed:
        """The document in sections. Raises `SourceError`, which says what is wrong with it."""
        kind, _ = kind_of(written)
        if what := media.too_large(len(data)):
            raise SourceError(what, next="split it, or put it into a database")
        if kind in (media.MARKDOWN, media.TEXT) and len(data) <= AT_HOME:
            return parse(written, data)
        failed, body = self._asked(written.encode("utf-8", "replace")[:1000], data)
        try:
            if not failed:
                return worker.decode(body)
            what, next = msgspec.msgpack.decode(body, type=tuple[str, str])
        except msgspec.DecodeError:
            self._end()
            raise SourceError("its parser gave an answer that makes no sense", next="save it anew") from None
        raise SourceError(what, next=next)

    def _asked(self, written: bytes, data: bytes) -> tuple[bool, bytes]:
        """What the process answers. Raises `SourceError` where it does not, or not in time."""
        process = self._process = self._process or _started()
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._seconds, stop)
        timer.start()
        answer = None
        try:
            with contextlib.suppress(OSError):
                answer = _exchange(process, written, data)
        finally:
            timer.cancel()
            if answer is None:
                self._end()
        if answer is not None:
            return answer
        if late.is_set():
            raise SourceError(f"it takes longer than {self._seconds:g} seconds to read", next="split it, or save it anew")
        raise SourceError("its parser was ended by the system: it needs too much", next="split it, or save it anew")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was not written any more
                        pipe.close()

    def __enter__(self) -> Parser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()


def _started() -> subprocess.Popen[bytes]:
    """A new process: with our modules, and without our environment, which holds secrets."""
    path = json.dumps([entry or os.getcwd() for entry in sys.path])  # noqa: PTH109
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _START, path, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        close_fds=True,
    )


def _exchange(process: subprocess.Popen[bytes], written: bytes, data: bytes) -> tuple[bool, bytes] | None:
    """Ask, and read the answer; None where the process ended before it was complete."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101
    process.stdin.write(worker.HEAD.pack(len(written), len(data)) + written)
    process.stdin.write(data)
    process.stdin.flush()
    head = process.stdout.read(worker.HEAD.size)
    if len(head) < worker.HEAD.size:
        return None
    failed, length = worker.HEAD.unpack(head)
    if length > worker.LARGEST_REPLY:
        return None
    body = process.stdout.read(length)
    return (bool(failed), body) if len(body) == length else None
