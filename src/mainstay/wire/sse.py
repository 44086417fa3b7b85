"""Server-sent events: bytes in, payloads out, however the bytes were cut; and the other way round.

Source: the WHATWG HTML standard, section 9.2. Only `data` matters to us (the JSON inside names its own type), so event
names, ids and retry hints are read past. A last event without its blank line is still given: servers forget it.
"""

from __future__ import annotations

from mainstay.core.errors import Garbled

MAX_EVENT = 16 * 1024 * 1024


class Events:
    """Cuts a byte stream into the payloads of its events.

    >>> events = Events()
    >>> events.feed(b'data: {"a"'), events.feed(b': 1}\\n\\ndata: [DONE]\\n\\n')
    ([], [b'{"a": 1}', b'[DONE]'])
    """

    __slots__ = ("_open", "_size")

    def __init__(self) -> None:
        self._open: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that these bytes complete. Raises `Garbled` for an event above 16 MB."""
        if self._size > MAX_EVENT:
            raise Garbled(f"a server-sent event is longer than {MAX_EVENT} bytes")
        self._size += len(data)
        if b"\n" not in data and b"\r" not in data:  # in the middle of a line: nothing can be complete
            self._open.append(data)
            return []
        if self._open:
            data = b"".join([*self._open, data])
        if b"\r" in data:
            data = _normalise(data)
        *blocks, rest = data.split(b"\n\n")
        self._open, self._size = [rest], len(rest)
        return [payload for block in blocks if (payload := _payload(block)) is not None]

    def close(self) -> list[bytes]:
        """What the last, unfinished event holds."""
        rest, self._open, self._size = b"".join(self._open), [], 0
        payload = _payload(rest.replace(b"\r", b"\n").strip(b"\n"))
        return [payload] if payload else []


def _normalise(data: bytes) -> bytes:
    # A carriage return at the very end may be the first half of \r\n: it waits for the next bytes.
    tail = b"\r" if data.endswith(b"\r") else b""
    return data.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n") + tail


def _payload(block: bytes) -> bytes | None:
    """The `data` lines of one event, joined; None for an event without any (a comment, a keep-alive)."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    lines = [line[5:].removeprefix(b" ") for line in block.lstrip(b"\xef\xbb\xbf").split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def event(data: bytes, name: str | None = None) -> bytes:
    """One event as bytes; `data` must not hold a line feed (JSON never does)."""
    if name is None:
        return b"data: " + data + b"\n\n"
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
