"""The HTTP client on the wire: exact bytes from real sockets, on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_server import LOOPS, Peer, Raw, Script, always, both, bytewise, ok, once, streamed

from mainstay.core.errors import CutOff, Garbled, Lost, ModelError, Unreachable
from mainstay.parts import http as client
from mainstay.parts import http_connection
from mainstay.parts.http import Endpoint, Http


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxies of the machine that runs the tests are not ours."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def to(script: Script) -> AsyncIterator[tuple[Endpoint, Raw]]:
    """An endpoint and the server behind it."""
    async with Raw(script) as server:
        http = Http()
        yield http.endpoint(server.url + "/x", {"content-type": "text/plain"}), server
        await http.close()


async def ask(endpoint: Endpoint, body: bytes = b"hello") -> tuple[int, bytes]:
    """Post, and read the whole answer."""
    async with endpoint.post(body) as reply:
        return reply.status, await reply.read()


# Keeping connections


@both
async def test_a_connection_is_used_again():
    """Requests one after the other share a connection, whole answers and streamed ones alike."""
    async with to(always(ok())) as (endpoint, server):
        assert [await ask(endpoint) for _ in range(3)] == [(200, b"ok")] * 3
        assert await endpoint.get() == (200, b"ok")
        assert server.connections == 1
    async with to(always(streamed(b"a", b"b"))) as (endpoint, server):
        assert [await ask(endpoint) for _ in range(3)] == [(200, b"ab")] * 3
        assert server.connections == 1


@both
async def test_the_connection_used_last_is_used_next():
    """The pool is a stack, so that after a burst the connections too many fall idle and expire."""

    async def numbered(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(ok(b"%d" % peer.number))

    async with to(numbered) as (endpoint, server):
        first, second = endpoint.post(b""), endpoint.post(b"")
        replies = [await first.__aenter__(), await second.__aenter__()]
        bodies = [await reply.read() for reply in replies]
        await second.__aexit__()
        await first.__aexit__()
        assert await ask(endpoint) == (200, bodies[0])
        assert server.connections == 2


@both
async def test_an_idle_connection_expires_without_being_asked_for(monkeypatch):
    """A connection that nobody wants is closed, and not found closed by the next request."""
    monkeypatch.setattr(client, "IDLE", 0.05)
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(ok())
        assert await peer.gone()
        closed.set()

    async with to(script) as (endpoint, server):
        await ask(endpoint)
        await closed.wait()
        await ask(endpoint)
        assert server.connections == 2


@both
async def test_a_connection_that_expired_is_not_taken(monkeypatch):
    """Between two sweeps too, nothing older than the limit is used."""
    async with to(always(ok())) as (endpoint, server):
        await ask(endpoint)
        monkeypatch.setattr(client, "IDLE", 0.0)
        await ask(endpoint)
        assert server.connections == 2


@both
async def test_a_connection_that_the_server_closed_is_not_used():
    """The ordinary end of an idle connection costs the next request nothing but a new one."""
    async with to(once(ok())) as (endpoint, server):
        for count in (1, 2, 3):
            assert await ask(endpoint) == (200, b"ok")
            await asyncio.sleep(0.05)
            assert server.connections == len(server.requests) == count


@both
@pytest.mark.parametrize("reset", [False, True])
async def test_a_close_that_crosses_our_request_costs_nothing(reset):
    """An idle connection that ends just when it is used is replaced, once, and nobody sees it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(ok(b"%d" % peer.number))
        await peer.request()
        if reset:
            peer.reset()

    async with to(script) as (endpoint, server):
        assert await ask(endpoint) == (200, b"1")
        assert await ask(endpoint) == (200, b"2")
        assert (server.connections, len(server.requests)) == (2, 3)


@both
async def test_a_request_is_repeated_once_only():
    """Where the new connection ends unanswered too, that is an error; nothing is tried a third time."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.say(ok())
            await peer.request()

    async with to(script) as (endpoint, server):
        await ask(endpoint)
        with pytest.raises(Unreachable, match="the connection was closed"):
            await ask(endpoint)
        assert (server.connections, len(server.requests)) == (2, 3)


@both
@pytest.mark.parametrize("last", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_request_that_was_heard_is_not_repeated(last):
    """One byte of an answer shows that the server had taken the request: repeating is for the rung's tries."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(ok())
        await peer.request()
        await peer.say(last)

    async with to(script) as (endpoint, server):
        await ask(endpoint)
        with pytest.raises(Unreachable):
            await ask(endpoint)
        assert (server.connections, len(server.requests)) == (1, 2)


@both
async def test_a_request_that_the_server_held_for_long_is_not_repeated(monkeypatch):
    """A server that dies over a request may have worked on it: that is no idle connection that was closed."""
    monkeypatch.setattr(client, "STALE", 0.02)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(ok())
        await peer.request()
        await asyncio.sleep(0.1)

    async with to(script) as (endpoint, server):
        await ask(endpoint)
        with pytest.raises(Unreachable):
            await ask(endpoint)
        assert (server.connections, len(server.requests)) == (1, 2)


@both
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: Close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + ok(b"bad"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokx",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
    ],
)
async def test_what_says_or_shows_that_a_connection_is_spent_is_believed(answer):
    """After `connection: close`, HTTP/1.0, or bytes beyond the answer, the next request gets a connection of its own."""
    async with to(always(answer)) as (endpoint, server):
        for count in (1, 2):
            status, body = await ask(endpoint)
            assert (status, body) in ((200, b"ok"), (204, b""))
            assert server.connections == count


@both
async def test_http_1_0_may_keep_its_connection():
    """HTTP/1.0 with `connection: keep-alive` is reused."""
    async with to(always(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok")) as (endpoint, server):
        assert [await ask(endpoint) for _ in range(2)] == [(200, b"ok")] * 2
        assert server.connections == 1


@both
async def test_an_answer_that_nobody_asked_for_is_nobodys():
    """What a server sends over an idle connection never becomes the answer to the next request."""
    said = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(ok(b"mine"))
        if peer.number == 1:
            await asyncio.sleep(0.02)
            await peer.say(ok(b"somebody else's"))
            assert await peer.gone()
            said.set()

    async with to(script) as (endpoint, server):
        assert await ask(endpoint) == (200, b"mine")
        await said.wait()
        assert await ask(endpoint) == (200, b"mine")
        assert server.connections == 2


@both
async def test_an_old_reply_cannot_read_a_newer_ones_body():
    """A reply that is kept beyond its request knows its own answer only."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(ok(b"first", b"x-number: 1"))
        await peer.request()
        await peer.say(ok(b"second", b"x-number: 2"))

    async with to(script) as (endpoint, _):
        async with endpoint.post(b"") as first:
            assert await first.read() == b"first"
        async with endpoint.post(b"") as second:
            assert await first.read() == b""
            assert first.headers["x-number"] == "1"
            assert await second.read() == b"second"


@both
async def test_two_hundred_requests_at_once():
    """Concurrent requests each get their own answer; afterwards all connections are kept and used."""

    async def echo(peer: Peer) -> None:
        while True:
            body = await peer.request()
            await asyncio.sleep(0.01)
            await peer.say(*streamed(body, body).partition(b"\r\n\r\n"))

    async with to(echo) as (endpoint, server):
        for _ in range(2):
            bodies = [b"%d" % i for i in range(200)]
            answers = await asyncio.gather(*[ask(endpoint, body) for body in bodies])
            assert answers == [(200, body * 2) for body in bodies]
        assert server.connections == 200


@both
async def test_closing_the_client_leaves_requests_in_flight_alone():
    """`close` closes what is idle at once, and what is in use when its request has ended."""
    gone = []

    async def script(peer: Peer) -> None:
        body = await peer.request()
        await asyncio.sleep(0.05 if body else 0)
        await peer.say(ok())
        gone.append((body, await peer.gone()))

    async with to(script) as (endpoint, _):
        slow = asyncio.ensure_future(ask(endpoint, b"slow"))
        await ask(endpoint, b"")
        await endpoint.http.close()
        await asyncio.sleep(0.01)
        assert gone == [(b"", True)]
        assert await slow == (200, b"ok")
        await asyncio.sleep(0.01)
        assert gone == [(b"", True), (b"slow", True)]


@both
async def test_two_event_loops_share_a_client_but_no_connection():
    """`run_sync` has a loop of its own in a thread: its connections are apart, and so is their end."""
    async with to(always(ok())) as (endpoint, server):
        assert await ask(endpoint) == (200, b"ok")

        async def elsewhere() -> list[tuple[int, bytes]]:
            answers = [await ask(endpoint), await ask(endpoint)]
            await endpoint.http.close()
            return answers

        assert await asyncio.to_thread(asyncio.run, elsewhere()) == [(200, b"ok")] * 2
        assert server.connections == 2
        assert await ask(endpoint) == (200, b"ok")
        assert server.connections == 2


def test_loops_that_are_gone_are_forgotten():
    """An application that calls `asyncio.run` again and again keeps no connections of loops that have ended."""
    http, port, ready, stop = Http(), 0, threading.Event(), threading.Event()

    async def serve() -> None:
        nonlocal port
        async with Raw(always(ok())) as server:
            port = server.port
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)

    async def use() -> None:
        assert await ask(http.endpoint(f"http://127.0.0.1:{port}", {})) == (200, b"ok")
        await http.close()

    try:
        for _ in range(3):
            asyncio.run(use())
            assert len(http._pools) <= 1
    finally:
        stop.set()
        thread.join(10)


# What an answer may look like

ANSWERS = {
    "a length": (ok(b"12345"), 200, b"12345"),
    "an empty body": (ok(b""), 200, b""),
    "no reason phrase": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "headers in capitals, an empty one": (b"HTTP/1.1 200 OK\r\nempty:\r\nCONTENT-LENGTH:2\r\n\r\nok", 200, b"ok"),
    "an empty line first": (b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "a reason in latin-1": (b"HTTP/1.1 503 Busy \xe9\xff\r\ncontent-length: 4\r\n\r\nbusy", 503, b"busy"),
    "an unknown status": (b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n", 999, b""),
    "chunks": (streamed(b"one", b"two"), 200, b"onetwo"),
    "no chunk": (streamed(), 200, b""),
    "chunk extensions":
        (b"HTTP/1.1 200 Y\r\ntransfer-encoding: Chunked \r\n\r\n3;a=b\r\nabc\r\n2;n=m\r\n\r\n\r\n0;x\r\n\r\n", 200, b"abc\r\n"),
    "trailers":
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n03\r\nabc\r\n0\r\nx: 1\r\ny: 2\r\n\r\n", 200, b"abc"),
    "until closed": (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
    "until closed, HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
    "until closed, nothing": (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", 200, b""),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n", 304, b""),
    "304 with chunks": (b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", 304, b""),
    "100 first": (b"HTTP/1.1 100 Continue\r\n\r\n" + ok(), 200, b"ok"),
    "103 and 102 first":
        (b"HTTP/1.1 103 Early Hints\r\ncontent-type: text/event-stream\r\n\r\nHTTP/1.1 102 Wait\r\n\r\n" + ok(), 200, b"ok"),
    "199 first": (b"HTTP/1.1 199 What\r\n\r\n" + ok(), 200, b"ok"),
    "gzip": (ok(gzip.compress(b"long " * 100), b"content-encoding: gzip"), 200, b"long " * 100),
    "x-gzip": (ok(gzip.compress(b"long " * 100), b"content-encoding: X-GZip"), 200, b"long " * 100),
    "deflate": (ok(zlib.compress(b"long " * 100), b"Content-Encoding:  deflate "), 200, b"long " * 100),
    "identity": (ok(b"plain", b"content-encoding: identity"), 200, b"plain"),
    "gzip of nothing": (ok(b"", b"content-encoding: gzip"), 200, b""),
    "gzip until closed":
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(b"until the end"), 200, b"until the end"),
}  # fmt: skip


@both
@pytest.mark.parametrize(("answer", "status", "body"), ANSWERS.values(), ids=ANSWERS)
async def test_answers_of_every_form(answer, status, body):
    """Every way of saying where a body ends is read alike, in one piece and cut after every byte."""
    async with to(once(answer)) as (endpoint, _):
        assert await ask(endpoint) == (status, body)
    async with to(once(*bytewise(answer))) as (endpoint, _), endpoint.post(b"") as reply:
        assert reply.status == status
        assert not reply.streams
        assert b"".join([data async for data in reply.chunks()]) == body


@both
async def test_headers_and_trailers():
    """Headers are found by their name in lower case; a trailer is none."""
    head = b"HTTP/1.1 429 No\r\nRetry-After: 3\r\nX-A: 1\r\nx-a: \xe9\r\nContent-Type: TEXT/event-stream; charset=utf-8\r\n"
    answer = head + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nretry-after: 99\r\n\r\n"
    async with to(once(answer)) as (endpoint, _), endpoint.post(b"") as reply:
        assert reply.streams
        assert await reply.read() == b"ok"
        assert reply.headers == {
            "retry-after": "3",
            "x-a": "\xe9",
            "content-type": "TEXT/event-stream; charset=utf-8",
            "transfer-encoding": "chunked",
        }


@both
async def test_a_stream_is_handed_on_as_it_arrives():
    """Each piece is there before the server sends the next one."""
    turn = asyncio.Semaphore(0)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for i in range(5):
            await turn.acquire()
            await peer.say(b"1\r\n%d\r\n" % i)
        await peer.say(b"0\r\n\r\n")

    async with to(script) as (endpoint, _), endpoint.post(b"") as reply:
        turn.release()
        got = []
        async for data in reply.chunks():
            got.append(data)
            turn.release()
        assert got == [b"0", b"1", b"2", b"3", b"4"]


REFUSED = {
    "words": (b"garbage\r\n\r\n", "is not HTTP"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01", "is not HTTP"),
    "HTML": (b"<html>502</html>", "is not HTTP"),
    "two digits": (b"HTTP/1.1 20 OK\r\n\r\n", "is not HTTP"),
    "four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "is not HTTP"),
    "a version": (b"HTTP/3.7 200 OK\r\n\r\n", "is not HTTP"),
    "status 000": (b"HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n", "status 000"),
    "status 099": (b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n", "status 099"),
    "101 with upgrade": (b"HTTP/1.1 101 Switch\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc", "status 101"),
    "101 without": (b"HTTP/1.1 101 Switch\r\n\r\nabc", "status 101"),
    "an interim body": (b"HTTP/1.1 104 Odd\r\ncontent-length: 3\r\n\r\nabc" + ok(), "interim answer has a body"),
    "line feeds only": (b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", "is not HTTP"),
    "folded": (b"HTTP/1.1 200 OK\r\nx: a\r\n  folded\r\n\r\n", "is not HTTP"),
    "space before the colon": (b"HTTP/1.1 200 OK\r\nx : a\r\n\r\n", "is not HTTP"),
    "a zero byte": (b"HTTP/1.1 200 OK\r\nx: \x00\r\n\r\n", "is not HTTP"),
    "a negative length": (b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok", "is not HTTP"),
    "a list of lengths": (b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", "is not HTTP"),
    "two lengths": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!", "is not HTTP"),
    "a huge length": (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok", "is not HTTP"),
    "a length and chunks":
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "is not HTTP"),
    "gzip, chunked":
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "transfer coding 'gzip, chunked'"),
    "gzip coding": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok", "transfer coding 'gzip'"),
    "a chunk size of letters": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "is not HTTP"),
    "a chunk too long": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n", "is not HTTP"),
    "a huge chunk": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffffff\r\nok\r\n", "is not HTTP"),
    "a long header": (b"HTTP/1.1 200 OK\r\nlong: " + b"a" * 300_000, "262144 bytes of head"),
    "many headers": (b"HTTP/1.1 200 OK\r\n" + b"many: a\r\n" * 40_000, "262144 bytes of head"),
    "many interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, "262144 bytes of head"),
    "a long reason": (b"HTTP/1.1 200 " + b"a" * 300_000, "262144 bytes of head"),
    "a long chunk extension":
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;" + b"a" * 300_000, "262144 bytes of head"),
    "a long trailer":
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: " + b"a" * 300_000, "262144 bytes of head"),
    "not gzip": (ok(b"not gzip", b"content-encoding: gzip"), "is not what its content-encoding says"),
    "gzip cut short": (ok(gzip.compress(b"long " * 100)[:-9], b"content-encoding: gzip"), "does not end where its body ends"),
    "gzip and more": (ok(gzip.compress(b"long") + b"more", b"content-encoding: gzip"), "does not end where its body ends"),
    "gzip twice":
        (ok(gzip.compress(b"long") + gzip.compress(b"more"), b"content-encoding: gzip"), "does not end where its body ends"),
}  # fmt: skip


@both
@pytest.mark.parametrize(("answer", "what"), REFUSED.values(), ids=REFUSED)
async def test_what_is_not_http_is_garbled(answer, what):
    """A malformed answer is refused with a reason, an endless one is bounded, and the connection is closed at once."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer)
        assert await peer.gone()

    async with to(script) as (endpoint, server):
        with pytest.raises(Garbled, match=what) as caught:
            await ask(endpoint)
        assert caught.value.where == server.url + "/x"
        assert server.connections == 1


@both
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", Lost),
        (b"HTTP/1.1 200 OK\r\ncontent-le", Lost),
        (b"HTTP/1.1 103 Early\r\n\r\n", Lost),
        (ok(b"12345")[:-1], CutOff),
        (streamed(b"12345")[:-1], CutOff),
        (streamed(b"12345")[:-6], CutOff),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", None),
    ],
)
async def test_an_answer_that_breaks_off(answer, error, reset):
    """Before the head it is `Lost`, after it `CutOff`; a body without a length is whole only after a proper close."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer)
        await asyncio.sleep(0.05)
        if reset:
            peer.reset()

    async with to(script) as (endpoint, server):
        if error is None and not reset:
            assert await ask(endpoint) == (200, b"until the end")
            return
        with pytest.raises(error or CutOff, match="(?i)reset" if reset else "the connection was closed") as caught:
            await ask(endpoint)
        assert type(caught.value) is (error or CutOff)
        assert caught.value.where == server.url + "/x"


@both
async def test_what_came_before_the_break_is_handed_on():
    """A stream that is cut gives all that arrived, and then says so."""
    async with to(once(streamed(b"one", b"two")[:-5])) as (endpoint, _), endpoint.post(b"") as reply:
        got = b""
        with pytest.raises(CutOff):
            async for data in reply.chunks():
                got += data
        assert got == b"onetwo"


# Amounts


@both
async def test_a_large_request_to_a_slow_server():
    """Ten megabytes arrive whole at a server that reads at its leisure."""
    body = bytes(range(256)) * 40_960

    async def script(peer: Peer) -> None:
        await peer.head()
        digest = hashlib.sha256()
        left = len(body)
        while left:
            data = await peer.reader.read(65536)
            digest.update(data)
            left -= len(data)
            await asyncio.sleep(0)
        await peer.say(ok(digest.hexdigest().encode()))

    async with to(script) as (endpoint, _):
        assert await ask(endpoint, body) == (200, hashlib.sha256(body).hexdigest().encode())


@both
@pytest.mark.parametrize("form", ["length", "until closed"])
async def test_an_answer_before_the_request_is_sent(form):
    """A server that answers without reading on is heard, and the connection that still holds the rest is not used again."""
    head = b"content-length: 8\r\n" if form == "length" else b""

    async def script(peer: Peer) -> None:
        if "content-length: 2\r" in await peer.head():
            await peer.say(ok())
            return
        await peer.say(b"HTTP/1.1 413 Too large\r\n" + head + b"\r\ntoo much")
        if form != "length":
            peer.writer.write_eof()
        await asyncio.sleep(5)

    async with to(script) as (endpoint, server):
        assert await asyncio.wait_for(ask(endpoint, b"x" * 20_000_000), 4) == (413, b"too much")
        assert await ask(endpoint, b"hi") == (200, b"ok")
        assert server.connections == 2


@both
async def test_a_body_that_nobody_takes_stays_at_the_server():
    """The socket is read no further while a reader sleeps, so memory is bounded, and afterwards everything arrives."""
    sent, size, piece = 0, 64 * 1024 * 1024, b"x" * 65536

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            await peer.say(piece)
            sent += len(piece)

    async with to(script) as (endpoint, _), endpoint.post(b"") as reply:
        await asyncio.sleep(0.3)
        before = sent
        await asyncio.sleep(0.1)
        assert sent == before < size / 2  # what the system's own buffers take
        assert sum([len(data) async for data in reply.chunks()]) == size


@both
async def test_an_answer_that_was_not_taken_does_not_stall_the_next():
    """A reader that looked at the status only, while megabytes had come, leaves no paused connection behind."""
    body = b"x" * (http_connection.HIGH_WATER + 10_000)  # the last read passes the mark, and completes the answer
    async with to(always(ok(body))) as (endpoint, _):
        for _ in range(3):
            async with endpoint.post(b"") as reply:
                await asyncio.sleep(0.05)
                assert reply.status == 200
        assert await ask(endpoint) == (200, body)


@both
@pytest.mark.parametrize("how", ["read", "chunks"])
@pytest.mark.parametrize("coded", [False, True])
async def test_an_answer_is_bounded(monkeypatch, how, coded):
    """Neither a long answer nor a small one that inflates passes the limit, nor comes in one great piece."""
    monkeypatch.setattr(http_connection, "MAX_REPLY", 5_000_000)
    body, largest = b"0" * 20_000_000, 0
    answer = ok(gzip.compress(body), b"content-encoding: gzip") if coded else ok(body)
    async with to(once(answer)) as (endpoint, _), endpoint.post(b"") as reply:
        with pytest.raises(Garbled, match="longer than 5000000 bytes"):
            if how == "read":
                await reply.read()
            async for data in reply.chunks():
                largest = max(largest, len(data))
        assert largest <= 2 * http_connection.HIGH_WATER


# Leaving early


@both
@pytest.mark.parametrize("stage", ["connecting", "head", "body", "paused"])
async def test_cancelling_closes_the_connection(stage):
    """Whoever stops waiting, at any stage, leaves no socket, no task and no noise, and the next request is well."""
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        if peer.number > 1:
            await always(ok())(peer)
        try:
            await peer.request()
            if stage == "body":
                await peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
            if stage == "paused":
                await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n", b"x" * 40_000_000)
            await peer.gone()
        finally:
            gone.set()

    async def slow(endpoint: Endpoint) -> None:
        async with endpoint.post(b"") as reply:
            if stage == "paused":
                await asyncio.sleep(60)
            await reply.read()

    async with to(script) as (endpoint, server):
        task = asyncio.ensure_future(slow(endpoint))
        await asyncio.sleep(0 if stage == "connecting" else 0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if stage != "connecting":
            await gone.wait()
            assert await ask(endpoint) == (200, b"ok")
            assert server.connections == 2


@both
async def test_cancelling_at_every_turn_of_the_loop():
    """Wherever between its first step and its last a request is cancelled, it is cancelled or done, and nothing is left."""
    async with to(always(*bytewise(streamed(b"ab")))) as (endpoint, _):
        for turns in range(60):
            task = asyncio.ensure_future(ask(endpoint))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            assert (await asyncio.gather(task, return_exceptions=True))[0] == (200, b"ab") or task.cancelled()
        assert await ask(endpoint) == (200, b"ab")


@both
async def test_leaving_a_stream_closes_its_connection():
    """A stream that is left in the middle is not read to its end behind the reader's back."""
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 2:
            await peer.say(ok())
            return
        await peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
        assert await peer.gone()
        gone.set()

    async with to(script) as (endpoint, server):
        async with endpoint.post(b"") as reply:
            async for data in reply.chunks():
                assert data == b"ok"
                break
        with pytest.raises(CutOff, match="let go"):
            await reply.read()
        await gone.wait()
        assert await ask(endpoint) == (200, b"ok")
        assert server.connections == 2


# Anything at all

FRAGMENTS = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404 No\r\n", b"HTTP/1.1 103 Early\r\n", b"HTTP/1.1 101 Go\r\n", b"HTTP/1.1 204 No\r\n",
    b"content-length: 5\r\n", b"content-length: 0\r\n", b"transfer-encoding: chunked\r\n", b"transfer-encoding: gzip\r\n",
    b"content-encoding: gzip\r\n", b"connection: close\r\n", b"connection: upgrade\r\nupgrade: x\r\n", b"x: y\r\n", b" fold\r\n",
    b"\r\n", b"5\r\nabcde\r\n", b"5;x=y\r\nabcde\r\n", b"0\r\n\r\n", b"0\r\n", b"abcde", b"\n", b"\0", b"ffffffffffffffff\r\n",
    gzip.compress(b"abcde"), ok(), streamed(b"abc"),
]  # fmt: skip
ANYTHING = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=40)), max_size=12)


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """One loop for all examples of a test."""
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as made:
        yield made


def test_nothing_but_our_own_errors_ever_comes_out(runner):
    """Whatever a server sends, however it is cut, closed or reset: an answer, or one of three errors, in time, and no noise."""
    noise: list[object] = []

    async def example(pieces: list[bytes], end: str, stream: bool) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(*pieces)
            if end == "reset":
                peer.reset()
            if end == "open":
                await peer.gone()

        async with to(script) as (endpoint, _), asyncio.timeout(10):
            for _ in range(2):
                task = asyncio.ensure_future(consume(endpoint, stream))
                done, _ = await asyncio.wait([task], timeout=0.02 if end == "open" else 8)
                if not done:
                    assert end == "open", "it hangs"
                    task.cancel()
                    await asyncio.wait([task])
                else:
                    assert isinstance(task.result(), bytes | Unreachable | CutOff | Garbled)

    @settings(max_examples=400, deadline=None)
    @given(ANYTHING, st.sampled_from(["closed", "closed", "closed", "reset", "open"]), st.booleans())
    def examples(pieces: list[bytes], end: str, stream: bool) -> None:
        runner.run(example(pieces, end, stream))

    examples()
    assert noise == []


async def consume(endpoint: Endpoint, stream: bool) -> bytes | ModelError:
    """The body, or the error as a value."""
    try:
        async with endpoint.post(b"hello") as reply:
            assert 200 <= reply.status <= 999
            if stream:
                return b"".join([data async for data in reply.chunks()])
            return await reply.read()
    except ModelError as error:
        assert str(error).startswith("http://127.0.0.1:")
        return error
