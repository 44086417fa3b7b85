"""The runaway retry: a client that asks again for ever is stopped, and whatever it asks it spends no more than its cap."""

from __future__ import annotations

import contextlib

import openai
import pytest

from mainstay.core.units import Usd
from projects import feature

WORST = 64 + 16 + 5 + 100  # tokens that are held for one attempt: the request's frame, its message, its text, what may be written
SETTINGS = f"""
    [models.small]
    provider = "scripted"
    max_output = 100
    price = {{ input = "1 USD", output = "1 USD" }}
    options = {{ FAULT, usage = {{ input = 20, output = 100 }} }}
    [plain]
    tries = 2
    [limits]
    tenant_per_day = "{Usd(20 * WORST * 1000)}"
"""
CAP = 20 * WORST * 1000
FEATURE = feature()


def counted(app) -> int:
    """What all tenants have spent."""
    return sum(taken for name, taken in app._counters.all() if "|usd|day|" in name)


@pytest.mark.parametrize("fault", ["cut_off", "garbled", "empty"])
async def test_a_client_that_retries_for_ever_spends_no_more_than_its_cap(served, fault):
    """Requests that fail may be charged for too; at the cap nothing is asked any more, and the client is told to stop."""
    server = await served(SETTINGS.replace("FAULT", f'replies = ["well", "well", "well", {{ fault = "{fault}" }}]'), FEATURE)
    client = server.sdk(max_retries=0)
    told = []
    for n in range(60):
        try:
            await client.chat.completions.create(model="small", messages=[{"role": "user", "content": f"{n:05}"}])
        except openai.APIStatusError as error:
            told.append((error.status_code, error.response.headers.get("x-should-retry")))
    asked = len(server.asked)
    assert told[-10:] == [(429, "false")] * 10
    assert 10 <= asked <= 60 and asked * 120 * 1000 <= counted(server.app) <= CAP
    with pytest.raises(openai.RateLimitError):
        await client.chat.completions.create(model="small", messages=[{"role": "user", "content": "once more"}])
    assert len(server.asked) == asked


PLAIN = """
    [models.small]
    provider = "scripted"
    options = { delay = "2s" }
"""


@pytest.mark.parametrize("model", ["small", "answers"])
async def test_a_client_in_a_loop_is_stopped_where_nothing_is_limited(served, model):
    """Its time-out is shorter than the model takes, and it sends the same again and again: each would be paid for nothing. After
    five failures nobody is asked, and the client is told to stop. Other requests go on, and no limit has to be set for that."""
    server = await served(PLAIN, FEATURE)
    client = server.sdk(max_retries=4, timeout=0.4)
    told = []
    for _ in range(40):
        try:
            answer = await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "again"}])
            told.append(answer.choices[0].message.content)
        except openai.APITimeoutError:
            told.append(None)
        except openai.APIStatusError as error:
            told.append((error.status_code, error.response.headers.get("x-should-retry")))
    asked = len(server.asked)
    assert 5 <= asked <= 8
    assert told[-20:] == ([(429, "false")] if model == "small" else ["Sorry."]) * 20
    (record,) = await server.app.records(limit=1)
    assert record.outcome.answer.reason == "retry_loop"
    with contextlib.suppress(openai.APIError):
        await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "something else"}])
    assert len(server.asked) > asked


async def test_the_sdk_itself_does_not_ask_again_once_the_cap_is_reached(served):
    """The unmodified SDK, with its retries on, sends one request that is refused for the budget, and not three."""
    server = await served(SETTINGS.replace("FAULT", 'replies = ["well"]').replace(str(Usd(CAP)), "0.0001 USD"), FEATURE)
    before = server.requests
    with pytest.raises(openai.RateLimitError):
        await server.sdk().chat.completions.create(model="small", messages=[{"role": "user", "content": "?"}])
    assert server.requests - before == 1 and server.asked == []


async def test_the_feature_beside_it_goes_on_below_its_paid_rungs(served):
    """Whoever calls a feature for that tenant is answered all the same, by the rungs that cost nothing."""
    server = await served(SETTINGS.replace("FAULT", 'replies = ["well"]').replace(str(Usd(CAP)), "0.0001 USD"), FEATURE)
    for n in range(20):
        answer = (await server.post("/v1/features/answers", {"input": {"question": f"{n}"}})).json()
        assert (answer["status"], answer["rung"], answer["reason"]) == ("degraded", "message", "over_budget")
    assert server.asked == [] and counted(server.app) == 0


@pytest.mark.parametrize(
    "usage",
    [
        "",
        "input = 20, output = -1000000",
        "input = -1000000, output = 100",
        "input = 20, output = 100, cached_input = -1000000",
        "input = 20, output = 100, cache_write = -1000000",
        "input = 0, output = 0",
        "input = 20, output = 9000000000000000000",
    ],
)
async def test_a_provider_that_counts_nonsense_frees_no_money(served, caplog, usage):
    """No count at all, less than nothing, nothing for a written answer, and more than any model can write are no counts: the cap
    holds by the bound, the record marks the estimate, and the counting goes on."""
    settings = SETTINGS.replace("FAULT", 'replies = ["well"]').replace("input = 20, output = 100", usage)
    server = await served(settings, FEATURE)
    client = server.sdk(max_retries=0)
    refused = 0
    for n in range(60):
        try:
            await client.chat.completions.create(model="small", messages=[{"role": "user", "content": f"{n:05}"}])
        except openai.RateLimitError:
            refused += 1
    assert len(server.asked) <= CAP // (WORST * 1000) and refused >= 10
    server.app._limiting.tend()
    assert 0 < counted(server.app) <= CAP
    (record,) = await server.app.records(limit=1, status="answered")
    (attempt,) = record.outcome.attempts
    assert attempt.estimated and attempt.cost_nano_usd == WORST * 1000
    assert "more was used than" not in caplog.text
