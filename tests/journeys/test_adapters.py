"""Every adapter under every fault, through `app.run` and `app.stream`: typed, on time, on record, and the next rung answers."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from mainstay.core.answer import Answer, Text
from mainstay.learn.faults import FAULTS, WIRES, FaultServer, Script

SCRIPT = Script(
    healthy="This was said by a model that is well, and it is long enough to be cut in its middle.", latency=0.1, slow=60.0
)
DEADLINE, MARGIN = 3.0, 1.0
FEATURE = """
    summary = "Answers"
    deadline = "3s"
    [input]
    question = "text"
    [[ladder]]
    model = "{first}"
    prompt = "prompt.md"
    [[ladder]]
    model = "second"
    prompt = "prompt.md"
    [[ladder]]
    message = "Sorry."
"""
REASONS = {  # of the answer, where the fault made it give way; by the outcome that its attempts have
    "unreachable": "model_unavailable",
    "overloaded": "model_unavailable",
    "garbled": "model_unavailable",
    "empty": "model_unavailable",
    "cut_off": "model_unavailable",
    "rate_limited": "rate_limited",
    "too_slow": "over_deadline",
}
SHOWN = {"stalled", "cut", "error", "cut_short"}  # after the first word, where words are shown as they come
FINE = {"latency", "forbidden"}  # no fault for a ladder without guards
ONCE = {"429_later", "slow", "stalled", "cut_short"}  # not worth a second try


def model(name: str, adapter: str, url: str) -> str:
    return f'[models."{name}"]\nprovider = "{adapter}"\nmodel = "m"\nurl = "{url}"\n'


def laddered(faults: list[str]) -> dict[str, str]:
    """A feature for each fault, named after it, whose first rung asks the model of that name."""
    files = {}
    for fault in faults:
        files[f"features/f{fault}/feature.toml"] = FEATURE.format(first=f"m{fault}")
        files[f"features/f{fault}/prompt.md"] = "{{ question }}\n"
    return files


async def ended(app, fault: str, *, stream: bool) -> tuple[Answer, str, float]:
    """The answer, the text that was shown before it, and the seconds that it took."""
    began, shown = time.monotonic(), ""
    if not stream:
        answer = await app.run(f"f{fault}", question="?")
        return answer, answer.text, time.monotonic() - began
    async for event in app.stream(f"f{fault}", question="?"):
        if isinstance(event, Text):
            shown += event.text
        answer = event
    return answer, shown, time.monotonic() - began


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("adapter", WIRES)
async def test_every_fault_gives_way_to_the_next_rung(opened, adapter, stream):
    """One table for all: the answer's status, reason and rung, the attempts' outcomes, the time, and what was shown."""
    names = [fault.name for fault in FAULTS]
    async with FaultServer(SCRIPT) as server:
        settings = model("second", "openai", server.url("healthy"))
        settings += "".join([model(f"m{name}", adapter, server.url(name)) for name in names])
        app = opened(settings, files=laddered(names), feature='summary = "None"\n[[ladder]]\nmessage = "Sorry."\n')
        results = await asyncio.gather(*[ended(app, name, stream=stream) for name in names])
        wrong = {}
        for fault, (answer, shown, took) in zip(FAULTS, results, strict=True):
            record = await app.record(answer.id)
            tried = [a for a in record.outcome.attempts if a.model == f"m{fault.name}"]
            outcomes = [a.outcome for a in tried]
            interrupted = stream and fault.name in SHOWN
            facts = {
                "status": (
                    answer.status,
                    "answered" if fault.name in FINE else "interrupted" if interrupted else "degraded",
                ),
                "rung": (answer.rung, f"m{fault.name}" if interrupted or fault.name in FINE else "second"),
                "reason": (
                    answer.reason,
                    None if fault.name in FINE else "cut_short" if fault.name == "cut_short" else REASONS.get(outcomes[-1], "?"),
                ),
                "named": (set(outcomes) <= fault.becomes, True),
                "tries": (len(outcomes), 1 if interrupted or fault.name in ONCE | FINE else 2),
                "shown": (shown, answer.text),
                "text": (answer.text == SCRIPT.healthy, not interrupted),
                "on time": (took < DEADLINE + MARGIN, True),
                "recorded": (record.outcome.answer, answer),
            }
            bad = {what: pair for what, pair in facts.items() if pair[0] != pair[1]}
            if bad:
                wrong[fault.name] = bad, outcomes, round(took, 2)
        await app.close()
    assert wrong == {}


class Moody:
    """A loopback provider that says 429 with these headers the first time, and answers afterwards; `at` is when it was asked."""

    def __init__(self, adapter: str, headers: str) -> None:
        self._wire, self._headers = WIRES[adapter], headers
        self.at: list[float] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        await reader.readexactly(length)
        self.at.append(time.monotonic())
        status, headers = (429, self._headers) if len(self.at) == 1 else (200, "")
        body = msgspec.json.encode(self._wire.error(429) if status == 429 else self._wire.whole(SCRIPT.healthy, False))
        start = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {len(body)}\r\n"
        writer.write(f"{start}{headers}\r\n".encode() + body)
        await writer.drain()
        writer.close()


@pytest.mark.parametrize(
    ("headers", "least", "rung"),
    [
        ("retry-after-ms: 400\r\n", 0.4, "m429"),
        ("retry-after: 1\r\n", 1.0, "m429"),
        ("retry-after-ms: 300\r\nretry-after: 60\r\n", 0.3, "m429"),
        ("retry-after: 0\r\n", 0.0, "m429"),
        ("retry-after: soon\r\n", 0.0, "m429"),
        ("retry-after: -5\r\n", 0.0, "m429"),
        ("retry-after: 60\r\n", None, "second"),
        ("retry-after-ms: 60000\r\n", None, "second"),
        ("retry-after: Wed, 21 Oct 2099 07:28:00 GMT\r\ndate: Wed, 21 Oct 2099 07:27:00 GMT\r\n", None, "second"),
    ],
)
@pytest.mark.parametrize("adapter", WIRES)
async def test_a_429_is_waited_for_where_that_helps(opened, adapter, headers, least, rung):
    """A wait that the rung has time for is kept before the second try; one that it has no time for gives way at once."""
    moody = Moody(adapter, headers)
    listening = await asyncio.start_server(moody.answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with FaultServer(SCRIPT) as server:
        settings = model("second", "openai", server.url("healthy")) + model("m429", adapter, f"http://127.0.0.1:{port}/v1")
        app = opened(settings, files=laddered(["429"]), feature='summary = "None"\n[[ladder]]\nmessage = "Sorry."\n')
        answer, _, took = await ended(app, "429", stream=False)
        await app.close()
    listening.close()
    assert (answer.rung, answer.text) == (rung, SCRIPT.healthy)
    assert answer.status == ("answered" if rung == "m429" else "degraded")
    if least is None:
        assert len(moody.at) == 1
        assert took < 1.0
    else:
        assert moody.at[1] - moody.at[0] >= least
