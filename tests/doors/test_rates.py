"""What clients are told of limits and retries, and what their SDKs tell us: through real HTTP, with the unmodified SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pytest
from serving import Served, scripted

from mainstay.doors.http.rates import duration
from mainstay.serve import loops

Serve = Callable[..., Any]
CHAT: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}
FAILING = 'replies = ["!rejected 400"]'


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0s"),
        (-1, "0s"),
        (0.0121, "13ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (3605, "1h0m5s"),
        (90061, "25h1m1s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, said: str):
    """Clients of OpenAI parse Go's form."""
    assert duration(seconds) == said


async def test_rate_headers_show_the_narrowest_limit(served: Serve):
    """On whole answers, streams and features: of several limits on the same, the one of which least is left."""
    limits = "[limits]\nproject_per_hour = 1000\ntenant_per_day = 10\ntenant_per_hour = '90000 tokens'\n"
    server: Served = await served(scripted() + limits)
    client = server.sdk()
    for used in (1, 2):
        raw = await client.chat.completions.with_raw_response.create(**CHAT)
        said = {name: raw.headers[f"x-ratelimit-{name}"] for name in ("limit-requests", "remaining-requests", "limit-tokens")}
        assert said == {"limit-requests": "10", "remaining-requests": str(10 - used), "limit-tokens": "90000"}
        assert 0 < int(raw.headers["x-ratelimit-remaining-tokens"]) <= 90000
        assert raw.headers["x-ratelimit-reset-requests"].endswith("s")
    stream = await client.chat.completions.with_raw_response.create(**CHAT, stream=True)
    assert stream.headers["x-ratelimit-remaining-requests"] == "7"
    await stream.http_response.aclose()
    assert (await server.ask()).headers["x-ratelimit-remaining-requests"] == "6"
    assert "x-ratelimit-limit-requests" in (await server.ask(stream=True)).headers


async def test_without_limits_there_are_no_rate_headers(served: Serve):
    """Nothing is invented."""
    server: Served = await served()
    assert not [name for name in (await server.ask()).headers if name.startswith("x-ratelimit")]


async def test_a_rate_limit_of_ours_says_when_to_come_back(served: Serve):
    """429 with the seconds, and no word against trying again: the window ends by itself."""
    server: Served = await served(scripted() + "[limits]\ntenant_per_minute = 0\n")
    response = await server.post("/v1/chat/completions", CHAT)
    assert response.status_code == 429 and "x-should-retry" not in response.headers
    assert 0 < int(response.headers["retry-after"]) <= 60
    assert int(response.headers["retry-after"]) * 1000 - int(response.headers["retry-after-ms"]) < 1000
    assert response.headers["x-ratelimit-remaining-requests"] == "0"


async def test_a_spent_budget_is_not_worth_another_try(served: Serve):
    """The unmodified SDK, whose retries are on, asks once."""
    price = 'price = { input = "1 USD", output = "1 USD" }\n'
    settings = f'[models.small]\nprovider = "scripted"\n{price}[limits]\ntenant_per_day = "0 USD"\n'
    server: Served = await served(settings)
    before = server.requests
    with pytest.raises(openai.RateLimitError) as refused:
        await server.sdk().chat.completions.create(**CHAT)
    assert refused.value.code == "over_budget" and refused.value.response.headers["x-should-retry"] == "false"
    assert server.requests == before + 1


async def test_a_client_that_reads_no_longer_gets_its_answer_in_time(served: Serve):
    """The SDK's read time-out shortens the deadline, so the fallback comes before the client gives up; a stream keeps its own."""
    server: Served = await served(scripted('delay = "4s"'))
    client = server.sdk(timeout=2.5, max_retries=0)
    completion = await client.chat.completions.create(**{**CHAT, "model": "answers"})
    assert completion.choices[0].message.content == "Sorry."
    record = await server.recorded("degraded")
    assert record.begun.call.deadline == pytest.approx(2.25)
    stream = {"input": {"question": "?"}, "stream": True}
    await server.post("/v1/features/answers", stream, headers={"x-stainless-read-timeout": "0.5"})
    assert (await server.recorded("answered")).begun.call.deadline is None


@pytest.mark.parametrize("said", ["", "not-given", "nan", "-1", "0", "inf", "600"])
async def test_a_time_out_never_lengthens_a_deadline(served: Serve, said: str):
    """Nor does nonsense change it."""
    server: Served = await served()
    response = await server.post(
        "/v1/features/answers", {"input": {"question": "?"}, "deadline": "2s"}, headers={"x-stainless-read-timeout": said}
    )
    record = await server.app.record(response.json()["id"])
    assert record is not None and record.begun.call.deadline == 2


# The retry-loop breaker


async def test_a_request_that_keeps_failing_is_stopped(served: Serve, monkeypatch: pytest.MonkeyPatch):
    """After five failures no model is asked, until it has cooled down; then one call is let through, and an answer ends it."""
    monkeypatch.setattr(loops, "FIRST_PAUSE", 3.0)
    failures = ", ".join(['{ fault = "rejected" }'] * 5)
    server: Served = await served(scripted(f'replies = [{failures}, "fine", "fine", "fine"]'))
    for n in range(8):
        response = await server.post("/v1/chat/completions", CHAT)
        assert response.status_code == (400 if n < 5 else 429)
    assert response.json()["error"]["code"] == "retry_loop" and response.headers["x-should-retry"] == "false"
    assert len(server.asked) == 5
    other = {**CHAT, "messages": [{"role": "user", "content": "Something else"}]}
    assert (await server.post("/v1/chat/completions", other)).status_code == 200
    await asyncio.sleep(3.1)
    for _ in range(2):
        assert (await server.post("/v1/chat/completions", CHAT)).status_code == 200
    assert 'reason="retry_loop"' in (await server.http().get("/metrics")).text


async def test_a_feature_in_a_loop_answers_without_what_costs(served: Serve):
    """The ladder goes on below the model; another tenant, and another user, are in no loop."""
    server: Served = await served(scripted('fault = "rejected"'))
    for _ in range(5):
        assert (await server.ask(user="u1")).json()["reason"] == "model_refused"
    answer = (await server.ask(user="u1")).json()
    assert (answer["status"], answer["reason"], answer["text"]) == ("degraded", "retry_loop", "Sorry.")
    for fields in ({"user": "u2"}, {"user": "u1", "tenant": "acme"}):
        assert (await server.ask(**fields)).json()["reason"] == "model_refused"
    assert len(server.asked) == 7


async def test_what_is_answered_may_be_asked_as_often_as_one_likes(served: Serve):
    """A repeated question is no loop."""
    server: Served = await served()
    for _ in range(12):
        assert (await server.ask()).json()["status"] == "answered"
    assert len(server.asked) == 12


async def test_a_client_that_leaves_and_comes_back_is_in_a_loop(served: Serve):
    """A time-out that is shorter than the answer costs each time and never gets one."""
    server: Served = await served(scripted('delay = "3s"'))
    for _ in range(5):
        with pytest.raises(openai.APITimeoutError):
            await server.sdk(timeout=openai.Timeout(0.4, read=0.4), max_retries=0).chat.completions.create(
                **CHAT, extra_headers={"x-stainless-read-timeout": "none"}
            )
    await server.recorded("interrupted")
    stopped = await server.post("/v1/chat/completions", CHAT)
    assert (stopped.status_code, stopped.json()["error"]["code"]) == (429, "retry_loop")


async def test_an_sdk_that_says_that_it_retries_for_ever_is_stopped(served: Serve):
    """Its own count is believed, above what an SDK does by default."""
    server: Served = await served()
    for count, status in (("0", 200), ("2", 200), ("5", 200), ("6", 429), ("-1", 200), ("x", 200)):
        response = await server.post("/v1/chat/completions", CHAT, headers={"x-stainless-retry-count": count})
        assert response.status_code == status, count
