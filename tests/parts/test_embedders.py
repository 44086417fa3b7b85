"""Embedders and rerankers: what they send, what they accept, and every fault in words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mainstay.core.errors import ConfigError, Garbled, ModelError, Overloaded, RateLimited, TooSlow, Unauthorized, Unreachable
from mainstay.core.project import Service
from mainstay.core.units import Seconds
from mainstay.parts.embedders.local import Local
from mainstay.parts.embedders.openai import OpenAI
from mainstay.parts.http import Http
from mainstay.parts.rerankers.http import HttpReranker

Answer = Callable[[dict[str, Any]], tuple[int, Any]]


class Answering:
    """A server on the loopback that answers each body with what `answer` says; `seen` are targets, heads and bodies."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []
        self.answer: Answer = lambda body: (200, {})
        self.delay = 0.0

    async def start(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                self.seen.append((head.split()[1], head, body))
                await asyncio.sleep(self.delay)
                status, answer = self.answer(body)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(data), data))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def server() -> AsyncIterator[Answering]:
    made = Answering()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    made = Http()
    yield made
    await made.close()


def embeddings(body: dict[str, Any]) -> tuple[int, Any]:
    """Vectors that tell their text by its length, given in the wrong order."""
    return 200, {"data": [{"index": i, "embedding": [float(len(t)), 1.0]} for i, t in enumerate(body["input"])][::-1]}


def rerank(body: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"results": [{"index": i, "relevance_score": len(t)} for i, t in enumerate(body["documents"])][::-1]}


def embedder(server: Answering, http: Http, **fields: Any) -> OpenAI:
    return OpenAI(Service(kind="openai", url=server.url, model="small", **fields), key="secret", http=http)


async def test_texts_are_embedded_in_batches_and_in_their_order(server: Answering, http: Http):
    """Each text gets its own vector, however many there are and however the server orders them; with model, length and key."""
    server.answer = embeddings
    made = embedder(server, http, options={"dimensions": 2, "batch": 2})
    assert await made.embed(["a", "bb", "", "\ud800", "ccccc"]) == [[1.0, 1.0], [2.0, 1.0], [1.0, 1.0], [1.0, 1.0], [5.0, 1.0]]
    assert [len(body["input"]) for _, _, body in server.seen] == [2, 2, 1]
    target, head, body = server.seen[0]
    assert target == "/v1/embeddings" and "authorization: Bearer secret" in head
    assert (body["model"], body["dimensions"]) == ("small", 2) and made.name == "openai:small/2"


TWICE = {"index": 7, "relevance_score": 1}
FAULTS: list[tuple[Answer, type[ModelError]]] = [
    (lambda body: (401, {"error": {"message": "no"}}), Unauthorized),
    (lambda body: (429, {"error": {"message": "slow down"}}), RateLimited),
    (lambda body: (503, b"busy"), Overloaded),
    (lambda body: (200, b"<html>"), Garbled),
    (lambda body: (200, b"\xff\xfe"), Garbled),
    (lambda body: (200, {"data": [], "results": []}), Garbled),
    (lambda body: (200, {"data": [{"index": 7, "embedding": [1]}] * 2, "results": [TWICE] * 2}), Garbled),
    (lambda body: (200, {"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1, 2]}]}), Garbled),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "kind"), FAULTS)
async def test_every_fault_is_a_model_error(server: Answering, http: Http, answer: Answer, kind: type[ModelError]):
    """What a server refuses or garbles is said in our own errors, with its address, for embedders and rerankers alike."""
    server.answer = answer
    with pytest.raises(kind) as caught:
        await embedder(server, http).embed(["a", "b"])
    assert "127.0.0.1" in caught.value.where
    with pytest.raises(kind):
        await HttpReranker(Service(kind="http", url=server.url), key="", http=http).score("q", ["a", "b"])


async def test_a_service_that_is_slow_or_gone_is_given_up(server: Answering, http: Http):
    """A service has its own time, after which nothing waits for it, and one that is not there says so."""
    server.delay = 30
    with pytest.raises(TooSlow, match="100ms"):
        await embedder(server, http, timeout=Seconds(0.1)).embed(["a"])
    gone = Service(kind="openai", url="http://127.0.0.1:9/v1", model="m")
    with pytest.raises(Unreachable):
        await OpenAI(gone, key="", http=http).embed(["a"])


async def test_a_reranker_scores_each_text(server: Answering, http: Http):
    """The shape that Cohere, Jina and vLLM share: scores come back in the order of the texts."""
    server.answer = rerank
    made = HttpReranker(Service(kind="http", url=server.url, model="r"), key="secret", http=http)
    assert await made.score("q", ["a", "bbb", "cc"]) == [1, 3, 2]
    assert await made.score("q", []) == []
    target, _, body = server.seen[0]
    assert target == "/v1/rerank" and body == {"model": "r", "query": "q", "documents": ["a", "bbb", "cc"], "top_n": 3}


@pytest.mark.parametrize(
    "make",
    [
        lambda http: HttpReranker(Service(kind="http"), key="", http=http),
        lambda http: HttpReranker(Service(kind="http", url="http://x/v1", options={"n": 1}), key="", http=http),
        lambda http: Local(Service(kind="local", options={"dim": 64}), key="", http=http),
    ],
)
async def test_what_is_set_wrongly_is_said_at_load(http: Http, make: Callable[[Http], object]):
    """An option that does nothing is no option."""
    with pytest.raises(ConfigError) as caught:
        make(http)
    assert caught.value.next


async def test_the_local_embedder_brings_meanings_together(http: Http):
    """Without a network, the same each time, and for any text: a refund is nearer to money back than to the opera."""
    pytest.importorskip("wordllama")
    made = Local(Service(kind="local"), key="", http=http)
    texts = ["refund of a purchase", "get your money back", "tickets to the opera", "", "\ud800", "x" * 5000]
    vectors = await made.embed(texts)
    assert len({len(v) for v in vectors}) == 1 and all(abs(sum(n * n for n in v) - 1) < 1e-3 for v in vectors)
    assert vectors[:2] == await made.embed(texts[:2])

    def near(a: int, b: int) -> float:
        return sum(x * y for x, y in zip(vectors[a], vectors[b], strict=True))

    assert near(0, 1) > near(0, 2) + 0.1
