"""The fault server: each fault, through each adapter, becomes the typed error that names it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import mainstay
from mainstay import registry
from mainstay.core.answer import fold
from mainstay.core.call import Call
from mainstay.core.model import Message, ModelRequest
from mainstay.core.project import Model
from mainstay.ids import new_id
from mainstay.learn.faults import FAULTS, HEALTHY, WIRES, FaultServer, Script, stand_in

SCRIPT = Script(healthy="One two three four five six seven eight nine ten.", forbidden="One zwei three.", latency=0.05, slow=30.0)
FEATURE = 'summary = "None"\n[[ladder]]\nmessage = "Sorry."\n'
SAID = {"useless": "  \n", "forbidden": "One zwei three.", "cut_short": SCRIPT.healthy[: len(SCRIPT.healthy) // 2]}


def installed(adapter: str) -> bool:
    """Whether the adapter is there; an entry point alone may point at nothing."""
    try:
        registry.offered("providers")[adapter].load()
    except (KeyError, ModuleNotFoundError):
        return False
    return True


ADAPTERS = [pytest.param(name, marks=() if installed(name) else pytest.mark.skip(reason="not installed")) for name in WIRES]


def models_at(server: FaultServer, adapter: str, deadline: str) -> str:
    """A plain model for each fault, named after it, asked once."""
    tables = [
        f'[models."{f.name}"]\nprovider = "{adapter}"\nmodel = "m"\nurl = "{server.url(f.name)}"\n' for f in (HEALTHY, *FAULTS)
    ]
    return f'[plain]\ntries = 1\ndeadline = "{deadline}"\n' + "".join(tables)


async def ask(app: mainstay.Mainstay, model: str, *, stream: bool) -> mainstay.Answer:
    request = ModelRequest(messages=(Message("user", "?"),), max_output=50)
    call = Call(id=new_id(), feature=model, origin="drill", request=request, stream=stream)
    return fold([event async for event in app.serve(call)])


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_each_fault_becomes_the_error_that_names_it(opened: Callable[..., mainstay.Mainstay], adapter: str, stream: bool):
    """Whatever the provider does, or does not: the call ends in a typed answer, and its record names the fault."""
    async with FaultServer(SCRIPT) as server:
        app = opened(models_at(server, adapter, "1500ms"), FEATURE, {})
        answers = await asyncio.gather(*[ask(app, fault.name, stream=stream) for fault in (HEALTHY, *FAULTS)])
        outcomes = {}
        for fault, answer in zip((HEALTHY, *FAULTS), answers, strict=True):
            (attempt,) = (await app.record(answer.id)).outcome.attempts
            outcomes[fault.name] = attempt.outcome
        await app.close()
    unnamed = {f.name: outcomes[f.name] for f in (HEALTHY, *FAULTS) if outcomes[f.name] not in f.becomes}
    assert unnamed == {}
    bad = {f.name: a.status for f, a in zip((HEALTHY, *FAULTS), answers, strict=True) if outcomes[f.name] != "ok"}
    assert set(bad.values()) <= {"unavailable", "interrupted"}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_what_it_says_is_what_arrives(opened: Callable[..., mainstay.Mainstay], adapter: str, stream: bool):
    """The wires are spoken well enough: texts arrive whole, with usage and the finish reason, also late ones and cut ones."""
    async with FaultServer(SCRIPT) as server:
        app = opened(models_at(server, adapter, "20s"), FEATURE, {})
        for name in ("healthy", "latency", "forbidden", "cut_short"):
            answer = await ask(app, name, stream=stream)
            assert answer.status == "answered"
            assert answer.text == SAID.get(name, SCRIPT.healthy)
            assert answer.finish == ("length" if name == "cut_short" else "stop")
            assert answer.usage.input > 0
        assert server.requests == {"healthy": 1, "latency": 1, "forbidden": 1, "cut_short": 1}
        await app.close()


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_429_says_when_to_come_back(adapter: str):
    """`retry-after` reaches the error, so that a retry can honour it."""
    from mainstay.core.errors import RateLimited
    from mainstay.parts.http import Http

    async with FaultServer(SCRIPT) as server:
        http = Http()
        model = Model(name="m", provider=adapter, model="m", url=server.url("429_later"))
        provider = registry.part("providers", adapter, where="")(model, key="k", http=http)
        with pytest.raises(RateLimited) as caught:
            async for _ in provider.generate(ModelRequest(messages=(Message("user", "?"),), max_output=5), stream=True):
                pass
        assert (caught.value.status, caught.value.retry_after) == (429, 60.0)
        await http.close()


def test_a_stand_in_keeps_the_adapter_where_it_can():
    """Real adapters are drilled as they are; a script, or a provider of one's own, is drilled as an OpenAI-compatible server."""
    own = Model(name="m", provider="anthropic", model="claude", key="env:SECRET")
    assert stand_in(own, "http://x/v1") == Model(name="m", provider="anthropic", model="claude", url="http://x/v1")
    for provider in ("scripted", "environment", "shop.models:Own"):
        other = stand_in(Model(name="m", provider=provider, options={"replies": ["x"]}), "http://x/v1")
        assert (other.provider, other.model, other.options) == ("openai", "drill", {})
