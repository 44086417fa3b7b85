"""One client's connection under uvicorn, and what uvicorn leaves open: limits on the head of a request and on the time that a
client takes to send or to read, and typed answers to what is not HTTP.

A connection is looked at once a second, so the limits cost no timer per request.
"""

from __future__ import annotations

import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mainstay.doors.http.wire import error_body

_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
MAX_HEAD = 64 * 1024  # bytes of a request line with its headers


class Connection(HttpToolsProtocol):
    """A connection with limits."""

    scope: dict[str, Any]  # type: ignore[assignment]  # not whole while it is read

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = self._received = 0
        self._waiting: tuple[str, int] | None = None
        self._since = 0.0

    def data_received(self, data: bytes) -> None:
        """uvicorn's, with a limit on the head, and without upgrades: we offer none, and the parser would skip the body."""
        self._received += len(data)
        if b"pgrade:" in data and (self.cycle is None or self.cycle.response_complete):
            head, end, rest = data.partition(b"\r\n\r\n")
            data = _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest
        super().data_received(data)
        if self.scope and "method" in self.scope:
            self._head = 0
        else:
            self._head += len(data)
            if self._head > MAX_HEAD and not self.transport.is_closing():
                self._refuse(431, f"the headers are longer than {MAX_HEAD} bytes", code="headers_too_large")

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP. If the answer to a whole request is on its way, that one may still end."""
        if self._answering():
            self.cycle.keep_alive = False
            self.pipeline.clear()
        else:
            self._refuse(400, "what was sent is not HTTP/1.1", code="invalid_http")

    def _refuse(self, status: int, message: str, *, code: str) -> None:
        """The last thing that is said on this connection, unless another answer is being said."""
        if self._answering():
            self.transport.abort()
            return
        body = error_body(status, message, code=code)
        head = b"content-type: application/json\r\nx-should-retry: false\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()

    def _answering(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body)

    def last_answer(self) -> None:
        """After the answer that is being made, no other request. Where none is being made, the next is told that we drain."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def look(self, now: float, patience: float) -> None:
        """Give the client up if it has kept us waiting for the same thing for longer than `patience` seconds."""
        waiting = self._waits_for()
        if waiting != self._waiting:
            self._waiting, self._since = waiting, now
        elif waiting is not None and now - self._since > patience:
            self._give_up(waiting[0])

    def _waits_for(self) -> tuple[str, int] | None:
        """What we wait for, and how far it is: as long as that does not change, the client does nothing."""
        unsent = self.transport.get_write_buffer_size()
        if unsent or self.transport.is_closing():
            return "reader", unsent
        if self.cycle is None or self.cycle.response_complete:
            # Between two requests uvicorn has a timer of its own, until the first byte of the next.
            return ("head", id(self.scope)) if self.timeout_keep_alive_task is None else None
        return ("body", self._received) if self.cycle.more_body else None

    def _give_up(self, kind: str) -> None:
        if kind == "reader":
            self.transport.abort()
        elif self._received:
            self._refuse(408, f"the {kind} of the request did not come", code="request_timeout")
        else:
            self.transport.close()  # never used: nothing was asked
