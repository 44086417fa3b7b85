"""What every provider has to do, run on each of them: ours over their wires against a server that speaks them, and `scripted`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from provider_backend import Backend, Scene

from mainstay.core.errors import (
    CutOff,
    Empty,
    Garbled,
    ModelError,
    Overloaded,
    RateLimited,
    Rejected,
    Unauthorized,
    Unreachable,
)
from mainstay.core.model import Chunk, Message, ModelRequest, Tool
from mainstay.core.project import Model
from mainstay.core.reasons import Finish
from mainstay.core.seams import Provider
from mainstay.parts.http import Http
from mainstay.registry import part

REQUEST = ModelRequest(messages=(Message("system", "Be brief."), Message("user", "Hi")), tools=(Tool("f"),), max_output=100)
WIRES = ["openai", "anthropic", "gemini"]
SCRIPTED_FAULTS = {
    400: "rejected",
    401: "unauthorized",
    403: "unauthorized",
    404: "rejected",
    429: "rate_limited",
    500: "overloaded",
    503: "overloaded",
    529: "overloaded",
    "reset": "unreachable",
    "cut": "cut_off",
}

Make = Callable[..., Provider]


class Stage:
    """One kind of provider, and what stands behind it: `make(scene)` gives a provider that meets that scene."""

    def __init__(self, kind: str, http: Http, backend: Backend | None) -> None:
        self.kind, self.http, self.backend = kind, http, backend

    def make(self, scene: Scene | None = None, **fields: Any) -> Provider:
        scene = scene or Scene(**fields)
        if self.backend is None:
            model = Model(name="m", provider="scripted", model="m-1", options=_script(scene))
        else:
            self.backend.scene = scene
            model = Model(name="m", provider=self.kind, model="m", url=self.backend.url)
        made: Provider = part("providers", self.kind, where="")(model, key="secret", http=self.http)
        return made

    async def idle(self) -> None:
        """Wait until the server behind has no request in work."""
        if self.backend is not None:
            await self.backend.idle()


def _script(scene: Scene) -> dict[str, Any]:
    reply: dict[str, Any] = {
        "text": "" if scene.fault == "empty" else scene.text,
        "reasoning": scene.reasoning,
        "tool_calls": [{"id": i, "name": n, "arguments": a} for i, n, a in scene.calls],
        "finish": scene.finish,
        "usage": {"input": scene.usage[0], "output": scene.usage[1], "cached_input": scene.usage[2]},
        "chunk": 3,
    }
    fault = SCRIPTED_FAULTS.get(scene.status) or SCRIPTED_FAULTS.get(scene.fault or "", scene.fault)
    if fault is not None:
        reply["fault"] = fault
    for name, value in scene.headers:
        reply[name.replace("-", "_")] = float(value)
    return {"replies": [reply]}


@pytest.fixture(params=[*WIRES, "scripted"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Each kind of provider in turn."""
    http = Http()
    if request.param == "scripted":
        yield Stage("scripted", http, None)
    else:
        async with Backend(request.param) as backend:
            yield Stage(request.param, http, backend)
    await http.close()


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def stream(request: pytest.FixtureRequest) -> bool:
    """Both ways of asking."""
    return bool(request.param)


async def said(provider: Provider, *, stream: bool) -> list[Chunk]:
    async with asyncio.timeout(10), aclosing(provider.generate(REQUEST, stream=stream)) as chunks:
        return [chunk async for chunk in chunks]


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


async def test_text(stage: Stage, stream: bool) -> None:
    """The text arrives unchanged, in both forms, and the last chunk says how it ended and which model wrote it."""
    chunks = await said(stage.make(), stream=stream)
    assert text(chunks) == "Hello wörld"
    assert chunks[-1].finish is Finish.STOP
    assert all(chunk.finish is None for chunk in chunks[:-1])
    assert {chunk.model for chunk in chunks} - {None} == {"m-1"}


async def test_whole_is_one_chunk_and_streamed_are_several(stage: Stage) -> None:
    """Without `stream` one chunk holds everything; with it the first words come before the last are there."""
    assert len(await said(stage.make(), stream=False)) == 1
    assert len([chunk for chunk in await said(stage.make(), stream=True) if chunk.text]) > 1


async def test_tool_calls(stage: Stage, stream: bool) -> None:
    """Several tool calls come whole and in order, however they were cut on the way."""
    calls = (("a", "get_weather", '{"city": "Zürich"}'), ("b", "get_time", '{"zone": [1, 2]}'))
    chunks = await said(stage.make(pieces=("See: ",), calls=calls, finish="tool_calls"), stream=stream)
    found = [(c.id, c.name, json.loads(c.arguments)) for chunk in chunks for c in chunk.tool_calls]
    assert found == [(id, name, json.loads(arguments)) for id, name, arguments in calls]
    assert text(chunks) == "See: "
    assert chunks[-1].finish is Finish.TOOL_CALLS


async def test_usage(stage: Stage, stream: bool) -> None:
    """Tokens are counted in one way, cached ones as part of the input; and only at the end, where they are known."""
    *earlier, last = await said(stage.make(usage=(12, 5, 4)), stream=stream)
    assert last.usage is not None
    assert (last.usage.input, last.usage.output, last.usage.cached_input) == (12, 5, 4)
    assert all(chunk.usage is None for chunk in earlier)


async def test_reasoning(stage: Stage, stream: bool) -> None:
    """What a model thinks is told apart from what it says."""
    chunks = await said(stage.make(reasoning="Hm."), stream=stream)
    assert "".join(chunk.reasoning for chunk in chunks) == "Hm."
    assert text(chunks) == "Hello wörld"


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_finish(stage: Stage, stream: bool, finish: str) -> None:
    """A text that was cut short or filtered says so."""
    assert (await said(stage.make(finish=finish), stream=stream))[-1].finish is Finish(finish)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, Rejected),
        (429, RateLimited),
        (500, Overloaded),
        (503, Overloaded),
        (529, Overloaded),
    ],
)
async def test_statuses(stage: Stage, stream: bool, status: int, kind: type[ModelError]) -> None:
    """Each error status is the right type, and says where; the connection is free for the next request."""
    with pytest.raises(ModelError) as error:
        await said(stage.make(status=status), stream=stream)
    assert type(error.value) is kind
    assert error.value.where
    if stage.backend is not None:
        assert error.value.status == status
    await stage.idle()
    assert text(await said(stage.make(), stream=stream)) == "Hello wörld"


async def test_how_long_to_wait(stage: Stage, stream: bool) -> None:
    """A provider that asks to wait is quoted."""
    with pytest.raises(RateLimited) as error:
        await said(stage.make(status=429, headers=(("retry-after", "7"),)), stream=stream)
    assert error.value.retry_after == 7.0


async def test_reset(stage: Stage, stream: bool) -> None:
    """A connection that is reset before anything came is unreachable."""
    with pytest.raises(Unreachable):
        await said(stage.make(fault="reset"), stream=stream)


@pytest.mark.parametrize("kind", WIRES)
async def test_refused(kind: str, stream: bool, unused_tcp_port: int) -> None:
    """A server that is not there is unreachable, and the error names its address."""
    http = Http()
    model = Model(name="m", provider=kind, model="m", url=f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(Unreachable) as error:
        await said(part("providers", kind, where="")(model, key="", http=http), stream=stream)
    assert str(unused_tcp_port) in error.value.where


async def test_cut(stage: Stage, stream: bool) -> None:
    """What came before the cut was given; then the answer is cut off, never complete."""
    got: list[Chunk] = []
    with pytest.raises(CutOff):
        async with asyncio.timeout(10), aclosing(stage.make(fault="cut").generate(REQUEST, stream=stream)) as chunks:
            async for chunk in chunks:
                got.append(chunk)  # noqa: PERF401 what came before the error counts
    assert text(got) == ("Hello wörld" if stream or stage.kind == "scripted" else "")
    assert all(chunk.finish is None for chunk in got)


async def test_garbage(stage: Stage, stream: bool) -> None:
    """A good status with a page of HTML is garbage."""
    with pytest.raises(Garbled):
        await said(stage.make(fault="garbled"), stream=stream)


async def test_nothing(stage: Stage, stream: bool) -> None:
    """A complete answer with nothing in it is nothing: no text that was never written, and no other error."""
    try:
        chunks = await said(stage.make(fault="empty"), stream=stream)
    except Empty:
        return
    assert not any(chunk.text or chunk.tool_calls or chunk.reasoning or chunk.refusal for chunk in chunks)
    assert stage.kind != "scripted"


@pytest.mark.parametrize(("fault", "kind"), [("garbled_late", Garbled), ("error_late", Overloaded)])
async def test_trouble_in_mid_stream(stage: Stage, fault: str, kind: type[ModelError]) -> None:
    """An error or garbage after the first words is typed, and the words before it were given."""
    if stage.backend is None:
        pytest.skip("the script has no such fault")
    got: list[Chunk] = []
    with pytest.raises(kind):
        async with asyncio.timeout(10), aclosing(stage.make(fault=fault).generate(REQUEST, stream=True)) as chunks:
            async for chunk in chunks:
                got.append(chunk)  # noqa: PERF401 what came before the error counts
    assert "Hello wörld".startswith(text(got))
    await stage.idle()


@pytest.mark.parametrize("taken", range(4))
async def test_closing_at_any_chunk_lets_go(stage: Stage, taken: int) -> None:
    """A reader that stops after any chunk ends the request at the provider too: nothing keeps writing, and paying."""
    chunks = stage.make(fault="stalled").generate(REQUEST, stream=True)
    async with asyncio.timeout(10):
        for _ in range(taken):
            await anext(chunks)
        await chunks.aclose()
    await stage.idle()
    assert text(await said(stage.make(), stream=True)) == "Hello wörld"


async def test_cancelling_lets_go(stage: Stage, stream: bool) -> None:
    """A cancelled request is cancelled: the cancellation comes through, and the provider is let go."""
    task = asyncio.create_task(said(stage.make(fault="stalled"), stream=stream))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stage.idle()


async def test_it_sets_no_time_limit_of_its_own(stage: Stage) -> None:
    """Whoever awaits a provider limits it; a stalled one simply waits."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), aclosing(stage.make(fault="stalled").generate(REQUEST, stream=True)) as chunks:
            async for _ in chunks:
                pass
    await stage.idle()


async def test_many_at_once(stage: Stage, stream: bool) -> None:
    """One provider answers many requests at the same time, each with its own text."""
    provider = stage.make()
    answers = await asyncio.gather(*[said(provider, stream=stream) for _ in range(20)])
    assert [text(chunks) for chunks in answers] == ["Hello wörld"] * 20
