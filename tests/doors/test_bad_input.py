"""Requests that are malformed, hostile or merely odd: each gets a typed answer, none hangs, none is a 500."""

from __future__ import annotations

import asyncio
import gzip
import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import asking, received, request, scripted

from mainstay.doors.http.connections import MAX_HEAD

DOORS = ("/v1/features/answers", "/v1/chat/completions")
SMALL = 'max_body = 2000\nstalled_reader = "1s"'


def talk(text: str = "Hello", **fields: object) -> bytes:
    """A body for the plain model `small`."""
    return json.dumps({"model": "small", "messages": [{"role": "user", "content": text}], **fields}).encode()


def status_of(data: bytes) -> int:
    return int(data.split(b" ", 2)[1])


def body_of(data: bytes) -> dict:
    return json.loads(data.partition(b"\r\n\r\n")[2])


async def sent(server, path: str, body: bytes, *headers: str) -> tuple[int, dict]:
    """One request on a connection of its own; status and JSON body."""
    data = await server.raw(request(path, body, *headers, "connection: close"))
    return status_of(data), body_of(data)


# Bodies


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}",
        b'{"input": {"question": "x"},}',
        b"\xef\xbb\xbf{}",
        b'{"input": {"question": "\xff\xfe"}}',
        b'{"model": "small", "messages": [{"role": "user", "content": "x"}], "metadata": {"a": "\xff"}}',
        b'{"model": "small", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"input": {"question": "\\ud800"}}',
        b'{"input": {"question": "\\udc00\\ud800"}}',
        b'{"input": {"question": 1e999}}',
        b'{"input": {"question": NaN}}',
        b'{"model": "small", "messages": [], "seed": 1e999}',
        b'{"model": "small", "messages": "x"}',
        b'{"model": 5, "messages": []}',
        b'{"model": null}',
        b"\x00" * 100,
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
    ids=range(23),
)
async def test_a_body_that_is_no_request_is_a_400(served, path, body):
    """Whatever is not readable JSON of the right shape is a 400 in the error's shape."""
    server = await served()
    status, answer = await sent(server, path, body)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["message"]


@pytest.mark.parametrize("levels", [30, 60, 61, 62, 63, 64, 65, 200, 500, *range(900, 990, 3), 1000, 5000])
async def test_no_depth_of_nesting_is_a_crash(served, levels):
    """However deep an input, a tool's schema, an output's schema or an unknown field nests, the answer is typed and on record."""
    server = await served()
    deep = "[" * levels + "]" * levels
    nested = '{"a":' * levels + "1" + "}" * levels
    shape = f'{{"name": "n", "schema": {nested}}}'
    user = '"messages": [{"role": "user", "content": "x"}]'
    for path, body in (
        (DOORS[0], f'{{"input": {{"question": {deep}}}}}'),
        (DOORS[0], f'{{"input": {{"question": "x"}}, "history": {deep}}}'),
        (DOORS[1], f'{{"model": "small", {user}, "metadata": {deep}}}'),
        (DOORS[1], f'{{"model": "small", {user}, "tools": [{{"function": {{"name": "f", "parameters": {nested}}}}}]}}'),
        (DOORS[1], f'{{"model": "small", {user}, "response_format": {{"type": "json_schema", "json_schema": {shape}}}}}'),
        (DOORS[1], f'{{"model": "answers", {user}, "metadata": {deep}}}'),
        (DOORS[1], f'{{"model": "small", "messages": [{{"role": "user", "content": {deep}}}]}}'),
    ):
        status, answer = await sent(server, path, body.encode())
        assert status in (200, 400, 422), (levels, path, body[:200], answer)
        id = answer.get("id", "").removeprefix("chatcmpl-")
        if id:
            assert await server.app.record(id) is not None


@pytest.mark.parametrize("number", ["1" * 5000, "-" + "9" * 400, "1e308", "1.5e-400", "0.1" * 1, "18446744073709551616"])
async def test_huge_numbers_are_data_or_errors(served, number):
    """Numbers beyond 64 bits and beyond floats are refused or carried, on every field that may hold one."""
    server = await served()
    user = '"messages": [{"role": "user", "content": "x"}]'
    for path, body in (
        (DOORS[0], f'{{"input": {{"question": {number}}}}}'),
        (DOORS[0], f'{{"input": {{"question": "x", "more": {number}}}}}'),
        (DOORS[1], f'{{"model": "small", {user}, "seed": {number}}}'),
        (DOORS[1], f'{{"model": "small", {user}, "max_tokens": {number}}}'),
        (DOORS[1], f'{{"model": "small", {user}, "temperature": {number}}}'),
        (DOORS[1], f'{{"model": "small", {user}, "vendor": {number}}}'),
        (DOORS[1], f'{{"model": "small", {user}, "n": {number}}}'),
        (DOORS[1], f'{{"model": "small", {user}, "top_logprobs": {number}}}'),
    ):
        status, answer = await sent(server, path, body.encode())
        assert status in (200, 400, 422), (path, body[:200], answer)
        id = answer.get("id", "").removeprefix("chatcmpl-")
        if id:
            assert await server.app.record(id) is not None


async def test_nul_and_control_characters_are_refused_by_name(served):
    """Control characters in a text are a refusal that says where they are, at both doors."""
    server = await served()
    status, answer = await sent(server, DOORS[0], asking("a\x00b"))
    assert (status, answer["reason"]) == (422, "input_invalid")
    assert "U+0000" in answer["detail"]
    status, answer = await sent(server, DOORS[1], talk("a\x00b"))
    assert (status, answer["error"]["code"], answer["error"]["param"]) == (400, "input_invalid", "messages")


async def test_a_compressed_body_is_refused_clearly(served):
    """A content-encoding is told apart from bad JSON."""
    server = await served()
    status, answer = await sent(server, DOORS[0], gzip.compress(asking()), "content-encoding: gzip")
    assert (status, answer["error"]["code"]) == (415, "unsupported_encoding")
    assert (await sent(server, DOORS[0], asking(), "content-encoding: identity"))[0] == 200


# Sizes and lengths


@pytest.mark.parametrize("size", [2001, 60_000, 3_000_000])
async def test_a_body_above_the_limit_is_413_with_a_length(served, size):
    """A body that says that it is too large is refused, and the client that is still sending gets to read it."""
    server = await served(scripted(server=SMALL))
    data = await server.raw(request(DOORS[0], b"x" * size))
    assert (status_of(data), body_of(data)["error"]["code"]) == (413, "request_too_large")
    assert b"connection: close" in data


@pytest.mark.parametrize("pieces", [1, 3, 2000])
async def test_a_body_above_the_limit_is_413_without_a_length(served, pieces):
    """A chunked body is counted as it comes, also when it comes at once."""
    server = await served(scripted(server=SMALL))
    chunk = b"%x\r\n%s\r\n" % (4000, b"x" * 4000)
    head = request(DOORS[0], b"", "transfer-encoding: chunked").replace(b"content-length: 0\r\n", b"")
    data = await server.raw(head + chunk * pieces + b"0\r\n\r\n")
    assert (status_of(data), body_of(data)["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_a_chunked_body_is_read(served, size):
    """A chunked request body is a body like any other."""
    server = await served()
    body = asking("x" * 3000)
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    head = request(DOORS[0], b"", "transfer-encoding: chunked", "connection: close").replace(b"content-length: 0\r\n", b"")
    data = await server.raw(head + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n")
    assert body_of(data)["text"] == "x" * 3000


async def test_expect_100_continue(served):
    """A client that waits for leave to send its body gets it, or the refusal instead of it."""
    server = await served(scripted(server="max_body = 2000"))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    body = asking()
    writer.write(request(DOORS[0], b"", "expect: 100-continue", "connection: close", length=len(body)))
    assert (await received(reader, until=b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(body)
    assert body_of(await received(reader))["text"] == "Hello"
    writer.close()
    data = await server.raw(request(DOORS[0], b"", "expect: 100-continue", length=5000))
    assert status_of(data) == 413
    data = await server.raw(request("/nothing", b"", "expect: 100-continue", length=50))
    assert (status_of(data), b"connection: close" in data) == (404, True)


async def test_a_length_that_is_too_short_does_not_spoil_the_answer(served):
    """What follows the announced body is no request: the first is answered, and the connection closed."""
    server = await served(scripted('delay = "200ms"'))
    body = asking()
    data = await server.raw(request(DOORS[0], body + b"\r\ntrailing rubbish\r\n\r\n", length=len(body)))
    assert body_of(data)["text"] == "Hello"


async def test_rubbish_behind_a_request_does_not_spoil_its_stream(served):
    """Bytes that are no HTTP, arriving while an answer streams, end the connection after it and not in its middle."""
    server = await served(scripted('replies = ["one two three four"], chunk = 4, gap = "100ms"'))
    body = asking(stream=True)
    data = await server.raw(request(DOORS[0], body + b"\x00\x01 rubbish \r\n\r\n", length=len(body)))
    assert data.count(b"HTTP/1.1") == 1
    assert b"event: answer" in data
    assert data.endswith(b"0\r\n\r\n")


async def test_a_length_that_is_too_long_is_given_up(served):
    """A body that never comes to its end is 408 after a while, and nobody else waits meanwhile."""
    server = await served(scripted(server=SMALL))
    waiting = asyncio.create_task(server.raw(request(DOORS[0], asking(), length=1000), limit=10))
    await asyncio.sleep(0.1)
    assert (await server.ask()).status_code == 200
    data = await waiting
    assert (status_of(data), body_of(data)["error"]["code"]) == (408, "request_timeout")


async def test_slow_headers_are_given_up(served):
    """A client that trickles its headers (slowloris) is given up, however busily it trickles."""
    server = await served(scripted(server=SMALL))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\n")

    async def trickle() -> None:
        while True:
            await asyncio.sleep(0.1)
            writer.write(b"x-a: b\r\n")

    trickling = asyncio.create_task(trickle())
    data = await received(reader, limit=10)
    trickling.cancel()
    writer.close()
    assert (status_of(data), body_of(data)["error"]["code"]) == (408, "request_timeout")


async def test_a_connection_that_says_nothing_is_closed(served):
    """An idle connection that never asked anything is closed without a word."""
    server = await served(scripted(server=SMALL))
    assert await server.raw(b"", limit=10) == b""


@pytest.mark.parametrize("head", [b"x-big: " + b"a" * 200_000, b"x-a: b\r\n" * 30_000, b""])
async def test_headers_without_end_are_431(served, head):
    """A head beyond the limit is refused before it fills the memory, whether it is one header, many, or a long path."""
    server = await served()
    path = b"/" if head else b"/" + b"a" * 200_000
    data = await server.raw(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n" + head)
    assert MAX_HEAD < 200_000
    assert (status_of(data), body_of(data)["error"]["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\nrubbish\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        request(DOORS[0], b"zz\r\n", "transfer-encoding: chunked").replace(b"content-length: 4\r\n", b""),
    ],
    ids=range(10),
)
async def test_what_is_not_http_is_a_typed_400(served, data):
    """TLS on the wrong port, rubbish, and requests that could be read in two ways are told so, and closed."""
    server = await served()
    got = await server.raw(data)
    assert status_of(got) in (400, 404)
    assert set(body_of(got)["error"]) == {"message", "type", "param", "code"}


async def test_headers_may_hold_any_bytes(served):
    """Header values beyond ASCII, and keys beyond latin-1, are no crash."""
    server = await served(key="schlüssel")
    line = "authorization: Bearer schlüssel".encode()
    wrong = b"authorization: Bearer \xff\xfe\x80"
    for header, status in ((line, 200), (wrong, 401), (b"authorization: \xff", 401), (b"x-api-key: \xe9", 401)):
        data = request(DOORS[0], asking(), "connection: close", "X: Y").replace(b"X: Y", header)
        assert status_of(await server.raw(data)) == status
    data = request(DOORS[0], asking(), "connection: close", "x-other: \xff", "authorization: Z").replace(
        b"authorization: Z", line
    )
    assert status_of(await server.raw(data)) == 200


async def test_an_upgrade_that_is_not_offered_is_passed_over(served):
    """Clients that offer HTTP/2 with every request (`upgrade: h2c`) are answered in HTTP/1.1."""
    server = await served()
    data = await server.raw(
        request(DOORS[0], asking(), "connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABk"),
        until=b'"text":"Hello"',
    )
    assert status_of(data) == 200


# Connections


async def test_a_connection_is_good_after_an_error(served):
    """Refusals leave the connection in order: the next request on it is answered."""
    server = await served()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for path, body in ((DOORS[0], b"{"), ("/nothing", asking()), ("/v1/models", asking("x" * 200_000)), (DOORS[0], b"[]" * 50)):
        writer.write(request(path, body))
        assert status_of(await received(reader, until=b"}}")) in (400, 404, 405)
    writer.write(request(DOORS[0], asking("last"), "connection: close"))
    assert body_of(await received(reader))["text"] == "last"
    writer.close()


async def test_pipelined_requests_are_answered_in_order(served):
    """Requests that are sent without waiting come back one after the other, each with its own answer."""
    server = await served(scripted('delay = "20ms"'))
    data = await server.raw(
        b"".join(request(DOORS[0], asking(f"q{i}")) for i in range(9)) + request(DOORS[0], asking("q9"), "connection: close")
    )
    texts = [json.loads(part.split(b"\r\n\r\n")[1].split(b"HTTP/1.1")[0])["text"] for part in data.split(b"HTTP/1.1 200")[1:]]
    assert texts == [f"q{i}" for i in range(10)]


async def test_http_1_0(served):
    """An old client gets its answer and a closed connection."""
    server = await served()
    data = await server.raw(request(DOORS[0], asking()).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert body_of(data)["text"] == "Hello"


# Fuzz

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = (
    "model messages stream stream_options tools tool_choice response_format n stop seed temperature max_tokens user logprobs"
    " input history deadline tenant progress locale"
)
FIELDS = st.sampled_from(NAMES.split())
SEEDS = (
    asking(history=[{"role": "user", "text": "x"}], deadline="1s", user="u"),
    talk(
        tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
        stop=["a"],
        stream_options={"include_usage": True},
    ),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A right body with some bytes of it changed, doubled or cut."""
    body = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(body) - 1)))
        body[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(body)


@st.composite
def reshaped(draw: st.DrawFn) -> bytes:
    """A right body with some fields replaced by any JSON."""
    body = json.loads(draw(st.sampled_from(SEEDS)))
    body |= draw(st.dictionaries(FIELDS, JSON, min_size=1, max_size=3))
    if (
        draw(st.booleans())
        and isinstance(body.get("messages"), list)
        and body["messages"]
        and isinstance(body["messages"][0], dict)
    ):
        body["messages"][0] |= draw(st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls"]), JSON, max_size=2))
    return json.dumps(body).encode()


async def test_fuzzed_bodies_never_fail(served):
    """Whatever is sent to either door is answered, typed, by something below 500, and whoever comes next is served."""
    server = await served(scripted('replies = ["Fine."]'))  # an echo of nothing is a model that wrote nothing: 503
    loop = asyncio.get_running_loop()
    client = server.http()
    choose = random.Random(7)

    async def send(body: bytes) -> None:
        path = choose.choice(DOORS)
        response = await client.post(path, content=body, headers={"content-type": "application/json"})
        assert response.status_code in (200, 400, 404, 422), (path, body, response.text)
        if not response.headers["content-type"].startswith("text/event-stream"):
            assert response.json().keys() & {"error", "id"}

    @settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(mutated() | reshaped() | st.binary(max_size=60))
    def fuzz(body: bytes) -> None:
        asyncio.run_coroutine_threadsafe(send(body), loop).result(20)

    await asyncio.to_thread(fuzz)
    assert (await server.ask()).status_code == 200
