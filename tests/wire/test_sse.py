"""Server-sent events, however their bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstay.core.errors import Garbled
from mainstay.wire import sse
from mainstay.wire.sse import Events

LINES = st.sampled_from(
    [b"data: one", b"data:two", b"data: {}", b": keep-alive", b"event: ping", b"id: 7", b"", b"", b"data", "data: …é".encode()]
)
STREAM = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=12).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


def payloads(pieces: list[bytes]) -> list[bytes]:
    events = Events()
    return [payload for piece in pieces for payload in events.feed(piece)] + events.close()


@given(STREAM, st.lists(st.integers(0, 120), max_size=8))
def test_a_stream_means_the_same_however_it_is_cut(stream: bytes, cuts: list[int]) -> None:
    """A payload is never lost, split or joined by where the network cut the bytes, whichever line ends the server uses."""
    at = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in itertools.pairwise(at)]
    assert payloads(pieces) == payloads([stream]) == payloads([stream[i : i + 1] for i in range(len(stream))])


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\r", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": nothing\n\nevent: x\n\ndata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"event: e\ndata:a\nid: 1\n\n\n\ndata: b", [b"a", b"b"]),
        (b"data:  two spaces\n\n", [b" two spaces"]),
        (b"", []),
    ],
)
def test_only_data_counts(stream: bytes, expected: list[bytes]) -> None:
    """Comments, names and ids are read past, several data lines are one payload, and a last event needs no blank line."""
    assert payloads([stream]) == expected


def test_an_endless_event_is_garbage() -> None:
    """A server that never ends its event cannot fill the memory: neither in lines nor without any."""
    for filler in (b"x" * 1_000_000, b"data: " + b"x" * 1_000_000 + b"\n"):
        events = Events()
        with pytest.raises(Garbled, match="longer than"):
            for _ in range(40):
                events.feed(filler)


def test_a_long_line_in_small_pieces_is_not_copied_at_every_piece() -> None:
    """Eight megabytes in pieces of a kilobyte take a moment: the cost grows with the bytes, not with their square."""
    events = Events()
    events.feed(b"data: ")
    for _ in range(8_000):
        assert events.feed(b"x" * 1_000) == []
    (payload,) = events.feed(b"\n\n")
    assert len(payload) == 8_000_000


def test_what_is_written_is_read_back() -> None:
    """Our own events are read by our own reader, named or not."""
    assert payloads([sse.event(b'{"a": 1}'), sse.event(b"{}", "ping")]) == [b'{"a": 1}', b"{}"]
