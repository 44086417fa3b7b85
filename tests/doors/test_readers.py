"""Clients that go away, stop reading, or come back: what becomes of their calls, their connections and the server's memory."""

from __future__ import annotations

import asyncio
import resource
import socket
import time

import pytest
from serving import TALKING, asking, received, request, scripted

SLOW = scripted('replies = ["one two three four five"], chunk = 4, gap = "300ms"')
STALLS = scripted('replies = [""], fault = "stalled"')
LONG = TALKING.replace('deadline = "5s"', 'deadline = "60s"')


def narrow(server) -> socket.socket:
    """A connection whose client has room for very little."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    return client


async def left(server, data: bytes, after: bytes = b"", wait: float = 0.3) -> None:
    """Send a request, read until `after`, wait, and break the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    if after:
        await received(reader, until=after)
    await asyncio.sleep(wait)
    writer.transport.abort()


@pytest.mark.parametrize("wait", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("path", ["/v1/features/answers", "/v1/chat/completions"])
async def test_a_client_that_leaves_a_whole_call_stops_its_production(served, path, wait):
    """Nobody waits for the answer any more, so the model is let go at once, and the record says that the reader left."""
    server = await served(STALLS, LONG)
    body = asking() if "features" in path else b'{"model": "answers", "messages": [{"role": "user", "content": "x"}]}'
    began = time.monotonic()
    await left(server, request(path, body), wait=wait)
    record = await server.recorded("interrupted")
    assert time.monotonic() - began < 10
    assert record.outcome.answer.reason == "reader_left"
    assert [a.outcome for a in record.outcome.attempts] == ["abandoned"]
    assert server.app.parts.flights._open == {}


@pytest.mark.parametrize("path", ["/v1/features/answers", "/v1/chat/completions"])
async def test_a_client_that_leaves_a_stream_stops_its_production(served, path):
    """Leaving in mid-stream ends the call where it is; what was shown by then is in the record."""
    server = await served(SLOW, LONG)
    stream = b'{"model": "answers", "stream": true, "messages": [{"role": "user", "content": "x"}]}'
    body = asking(stream=True) if "features" in path else stream
    await left(server, request(path, body), after=b"two", wait=0)
    record = await server.recorded("interrupted")
    answer = record.outcome.answer
    assert answer.reason == "reader_left"
    assert answer.text.startswith("one two")
    assert "five" not in answer.text


async def test_one_of_two_identical_readers_may_leave(served):
    """A production belongs to no reader: the other one gets its whole answer, and the model was asked once."""
    server = await served(SLOW, LONG + '[cache]\nkeep = "1h"\n')
    staying = asyncio.create_task(server.ask("same", stream=True))
    await asyncio.sleep(0.1)
    await left(server, request("/v1/features/answers", asking("same", stream=True)), after=b"event: text", wait=0)
    assert '"text":"one two three four five"' in (await staying).text
    assert len(server.asked) == 1


async def test_leaving_when_the_answer_is_complete_is_no_leaving(served):
    """A client that hangs up right after its answer has an answered record, also while others do the same."""
    server = await served(scripted('delay = "110ms"'))

    async def once(i: int) -> None:
        data = request("/v1/features/answers", asking(f"q{i}"))
        await left(server, data, after=b'"event":"answer"', wait=0)

    await asyncio.gather(*(once(i) for i in range(20)))
    records = await server.app.records(limit=50)
    assert [r.outcome.answer.status for r in records] == ["answered"] * 20


async def test_a_client_that_stops_reading_is_dropped(served):
    """A stalled reader holds up neither the production nor the server: the call is answered, the connection dropped."""
    text = "word " * 1_200_000
    settings = scripted(f'replies = ["{text}"], chunk = 8000', server='stalled_reader = "1s"')
    server = await served(settings, LONG)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with narrow(server) as client:
        client.sendall(request("/v1/features/answers", asking(stream=True)))
        record = await server.recorded("interrupted", limit=20)
        assert record.outcome.answer.reason == "reader_left"
        async with asyncio.timeout(10):
            while server.server.server_state.connections:
                await asyncio.sleep(0.05)
    assert not server.server.server_state.tasks
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
    assert (await server.ask("next")).status_code == 200


async def test_a_client_that_stops_reading_and_leaves_has_left(served):
    """Leaving while the server waits for room is leaving: what was never taken does not count as answered."""
    text = "word " * 1_200_000
    server = await served(scripted(f'replies = ["{text}"], chunk = 8000'), LONG)
    with narrow(server) as client:
        client.sendall(request("/v1/features/answers", asking(stream=True)))
        await asyncio.sleep(0.5)
    record = await server.recorded("interrupted")
    assert record.outcome.answer.reason == "reader_left"


async def test_a_client_that_takes_nothing_of_a_whole_answer_is_dropped(served):
    """An answer that fits the server's buffers is over for us, but its connection is not kept for ever."""
    text = "word " * 1_000_000
    server = await served(scripted(f'replies = ["{text}"]', server='stalled_reader = "1s"'), LONG)
    with narrow(server) as client:
        client.sendall(request("/v1/features/answers", asking()))
        await server.recorded("answered", limit=20)
        async with asyncio.timeout(10):
            while server.server.server_state.connections:
                await asyncio.sleep(0.05)


async def test_a_slow_client_that_reads_gets_everything(served):
    """Slow is not stalled: who takes a little at a time gets the whole stream."""
    text = "word " * 100_000
    server = await served(scripted(f'replies = ["{text}"], chunk = 2000', server='stalled_reader = "1s"'), LONG)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=4096)
    writer.write(request("/v1/features/answers", asking(stream=True), "connection: close"))
    data = b""
    while piece := await reader.read(30_000):
        data += piece
        await asyncio.sleep(0.05)
    writer.close()
    assert data.endswith(b"0\r\n\r\n")
    assert b"event: answer" in data


async def test_half_a_request_leaves_nothing_behind(served):
    """A client that breaks off in its headers or in its body leaves no task, no connection and no record."""
    server = await served()
    whole = request("/v1/features/answers", asking())
    for cut in (1, 20, len(whole) - 30, len(whole) - 1):
        await left(server, whole[:cut], wait=0.05)
    async with asyncio.timeout(5):
        while server.server.server_state.connections or server.server.server_state.tasks:
            await asyncio.sleep(0.02)
    assert await server.app.records() == []


async def test_an_error_after_the_head_breaks_the_connection(served, monkeypatch):
    """What fails when part of the answer is out must look broken to the client, not complete."""
    server = await served(SLOW, LONG)
    real = server.app.serve

    async def failing(call):
        async for n, event in _numbered(real(call)):
            if n == 3:
                raise RuntimeError("a bug of ours")
            yield event

    monkeypatch.setattr(server.app, "serve", failing)
    data = await server.raw(request("/v1/features/answers", asking(stream=True)))
    assert b"event: text" in data
    assert not data.endswith(b"0\r\n\r\n")
    assert b"HTTP/1.1 500" not in data


async def _numbered(events):
    n = 0
    async for event in events:
        yield n, event
        n += 1
