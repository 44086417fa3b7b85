"""The process in which documents are parsed: started, fed and ended by `safely.py`, and never there without it.

It reads a request (media type and bytes), answers with sections or with what is wrong, and waits for the next. It has little
memory, opens no more files than it needs, knows no secret (its environment is empty), and dies with whoever started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
from typing import BinaryIO

import msgspec

from mainstay.core.errors import SourceError
from mainstay.parts.parsing.documents import Parsed, parse

MEMORY = 1_500_000_000  # bytes of address space
SECONDS = 20  # of processor time for one document
LARGEST_REPLY = 100_000_000  # bytes
DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>

HEAD = struct.Struct(">IQ")  # length of the media type, length of the document; of the answer: 0 or 1 for a fault, its length


def main(parent: int) -> None:
    """Serve until there is nothing to read any more."""
    _die_with(parent)
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123  what a library prints must not pass for an answer
        os.dup2(nothing.fileno(), 1)
    _limit()
    requests = sys.stdin.buffer
    while head := requests.read(HEAD.size):
        media, length = HEAD.unpack(head)
        _allow(SECONDS)
        _answer(answers, requests.read(media).decode(), requests.read(length))


def _answer(answers: BinaryIO, media: str, data: bytes) -> None:
    try:
        body = msgspec.msgpack.encode(parse(media, data))
        failed = len(body) > LARGEST_REPLY
        if failed:
            body = msgspec.msgpack.encode(("there is too much text in it", "split it"))
    except SourceError as error:
        body, failed = msgspec.msgpack.encode((error.what, error.next)), True
    except MemoryError:
        body, failed = msgspec.msgpack.encode(("it needs more memory than a document may", "split it, or save it anew")), True
    except RecursionError:
        body, failed = msgspec.msgpack.encode(("it is nested too deeply", "save it anew")), True
    except Exception as error:
        what = f"its parser failed: {type(error).__name__}: {' '.join(str(error).split())[:100]}"
        body, failed = msgspec.msgpack.encode((what, "save it anew, or convert it to text")), True
    answers.write(HEAD.pack(failed, len(body)) + body)
    answers.flush()


def decode(body: bytes) -> Parsed:
    """The sections in an answer."""
    return msgspec.msgpack.decode(body, type=Parsed)


def _die_with(parent: int) -> None:
    """End when the parent does, also in the middle of a document. Elsewhere than on Linux the end of the pipe, and the limit of
    processor time, do it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def _limit() -> None:
    for name, most in (("RLIMIT_AS", MEMORY), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0), ("RLIMIT_NPROC", 0)):
        with contextlib.suppress(ValueError, OSError):  # macOS has no limit of address space that it keeps
            resource.setrlimit(getattr(resource, name), (most, most))


def _allow(seconds: int) -> None:
    """So much processor time from now on; then the system ends this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    with contextlib.suppress(ValueError, OSError):
        most = int(used.ru_utime + used.ru_stime) + seconds + 1
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))
