"""The way from the spool into the ledger: pairs the halves of one process's records, over all its files.

A line that no ledger can take must not hold up the ones behind it: it is set aside in `refused.jsonl` beside the spool's files,
loudly. A line with zero bytes in it was never written to its end, so nobody was promised it; it is passed over.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mainstay.core.answer import Answer
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Outcome
from mainstay.core.seams import Ledger, LedgerRow
from mainstay.parts.stores.segments import Segment

log = logging.getLogger("mainstay.spool")
REFUSED = "refused.jsonl"
FAULTY = (msgspec.MsgspecError, ValueError, TypeError, OverflowError)  # the row is at fault, not the ledger


class _Head(msgspec.Struct):
    kind: str = msgspec.field(name="is")
    id: str


class _Call(msgspec.Struct):
    feature: str


class _Begun(msgspec.Struct):
    """As much of a first half as is needed to end it, so that a later version's can be ended too."""

    id: str
    release: str
    call: _Call


_head = msgspec.json.Decoder(_Head).decode
_begun = msgspec.json.Decoder(_Begun).decode
_BEGUN, _SEALED = b'{"is":"begun","id":"', b'{"is":"sealed","id":"'
_AFTER_BEGUN, _AFTER_SEALED = len(_BEGUN), len(_SEALED)


class Tail:
    """What is read from one process's files and waits for its other half."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._ledger, self._refused = ledger, folder / REFUSED
        self._waiting: dict[bytes, tuple[bytes, Segment]] = {}

    def drain(self, segment: Segment, *, rest: float = 0.0) -> None:
        """Write all that is new in the segment. Raises what the ledger raises; then nothing of the batch counts as read.

        `rest` is for how many seconds to sleep between two batches.
        """
        while data := segment.read():
            rows: list[LedgerRow] = []
            begun: dict[bytes, bytes] = {}
            ended: list[bytes] = []
            strange: list[bytes] = []
            for line in self._lines(data, segment):
                kind, id = _kind_and_id(line)
                if kind == "sealed":
                    first = begun.get(id) or self._waiting.get(id, (b"",))[0]
                    ended.append(id)
                    if first or self._ledger.record(id.decode()) is None:
                        rows.append(LedgerRow(id.decode(), first, line))
                elif kind == "begun":
                    begun[id] = line
                elif kind == "score":
                    rows.append(LedgerRow(id.decode(), score=line))
                elif line:
                    strange.append(line)
            self._write(rows)
            self._remember(begun, ended, segment)
            if strange:
                self._set_aside(strange, f"no records, in {segment.path.name}")
            segment.place += len(data)
            if rest:
                time.sleep(rest)

    def _lines(self, data: bytes, segment: Segment) -> list[bytes]:
        """Without the zeros of pages that a power cut took. A line that itself has holes was promised to nobody."""
        lines = data.split(b"\n")
        if b"\0" in data:
            bare = [line.strip(b"\0") for line in lines]
            whole = [
                b for line, b in zip(lines, bare, strict=True) if b"\0" not in line or (b"\0" not in b and b.startswith(b"{"))
            ]
            log.warning("%s: %d line(s) that were not written to their end are passed over", segment.path, len(bare) - len(whole))
            return whole
        return lines

    def _remember(self, begun: dict[bytes, bytes], ended: list[bytes], segment: Segment) -> None:
        for id in ended:
            begun.pop(id, None)
            self._forget(id)
        for id, line in begun.items():
            self._forget(id)
            self._waiting[id] = (line, segment)
            segment.open.add(id)

    def _forget(self, id: bytes) -> None:
        waiting = self._waiting.pop(id, None)
        if waiting is not None:
            waiting[1].open.discard(id)

    def waiting(self, segment: Segment) -> bytes:
        """The lines of the segment's calls that have not ended."""
        return b"".join([line + b"\n" for line, where in self._waiting.values() if where is segment])

    def bury(self) -> int:
        """The process is dead: what it had begun and not sealed becomes interrupted records. Gives their number."""
        self._write([LedgerRow(id.decode(), line, _died(id.decode(), line)) for id, (line, _) in self._waiting.items()])
        ended, self._waiting = len(self._waiting), {}
        return ended

    def _write(self, rows: Sequence[LedgerRow]) -> None:
        """Write these rows; where the ledger stumbles over one, it alone is set aside."""
        try:
            self._ledger.write(rows)
        except FAULTY:
            refused: list[LedgerRow] = []
            for row in rows:
                try:
                    self._ledger.write([row])
                except FAULTY as error:
                    why = str(error)
                    refused.append(row)
            self._set_aside([line for row in refused for line in (row.begun, row.sealed, row.score) if line], why)

    def _set_aside(self, lines: Sequence[bytes], why: str) -> None:
        log.critical("%d line(s) that the ledger cannot take were set aside in %s: %s", len(lines), self._refused, why)
        file = os.open(self._refused, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, b"\n".join([*lines, b""]))
        finally:
            os.close(file)


def _kind_and_id(line: bytes) -> tuple[str, bytes]:
    """What a line is and whose, from its start alone; the ledger reads the rest. Empty for what is no line of ours."""
    if line.startswith(_SEALED):
        kind, start = "sealed", _AFTER_SEALED
    elif line.startswith(_BEGUN):
        kind, start = "begun", _AFTER_BEGUN
    else:
        kind, start = "", 0
    id = line[start : line.find(b'"', start)]
    if kind and id.isalnum():
        return kind, id
    try:
        head = _head(line)
    except FAULTY:
        return "", b""
    return head.kind, head.id.encode()


def _died(id: str, line: bytes) -> bytes:
    """The second half of a call whose process ended first; none where its first half cannot be read."""
    try:
        begun = _begun(line)
    except FAULTY:
        return b""
    answer = Answer(
        id=id, feature=begun.call.feature, release=begun.release, status=Status.INTERRUPTED, reason=Reason.PROCESS_DIED
    )
    return msgspec.json.encode(Outcome(id=id, answer=answer, took_us=0, cost_nano_usd=None))
