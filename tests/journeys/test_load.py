"""Load from the field, with real processes over loopback: the quarter's end, two hundred users at once, and inference servers of
one's own. The inference server is a small process that speaks vLLM's wire and metrics (`inference.py`); no model is loaded.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

MARGIN = 1.5  # seconds past its deadline that a client on a busy machine may see


class Inference:
    """The process, its address and what it counted."""

    def __init__(self, *options: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("inference.py")), *options], stdout=subprocess.PIPE, text=True
        )
        assert self.popen.stdout is not None
        self.url = f"http://127.0.0.1:{self.popen.stdout.readline().strip()}"

    @property
    def stats(self) -> dict[str, int]:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self.url}/stats", timeout=10) as reply:
            return json.load(reply)

    def ask(self, count: int) -> list[asyncio.Task[object]]:
        """Requests of somebody else, past Mainstay."""
        client = httpx2.AsyncClient(timeout=20, trust_env=False)
        return [asyncio.create_task(client.post(f"{self.url}/v1/chat/completions", json={"messages": []})) for _ in range(count)]


@pytest.fixture
def inference() -> Iterator[Callable[..., Inference]]:
    """`inference("--at-once", "2")` runs an inference server, and ends it after the test."""
    running: list[Inference] = []

    def start(*options: str) -> Inference:
        running.append(Inference(*options))
        return running[-1]

    yield start
    for one in running:
        one.popen.kill()
        one.popen.wait(10)
        one.popen.stdout.close()  # type: ignore[union-attr]


def model(name: str, server: Inference, more: str = "") -> str:
    return f'[models.{name}]\nprovider = "openai"\nmodel = "m"\nurl = "{server.url}/v1"\n{more}\n'


async def users(url: str, feature: str, count: int, tenant: str = "default", **fields):
    """So many users at once, each on a connection of its own: status, answer, seconds, and when it was there."""
    limits = httpx2.Limits(max_connections=count, max_keepalive_connections=count)
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False, limits=limits) as http:

        async def one(n: int):
            body = {"input": {"question": f"{feature} {tenant} {n}"}, "tenant": tenant, **fields}
            began = time.monotonic()
            response = await http.post(f"/v1/features/{feature}", json=body)
            return response.status_code, response.json(), time.monotonic() - began, time.monotonic()

        return await asyncio.gather(*[one(n) for n in range(count)])


LADDER = """
summary = "Answers"
deadline = "{deadline}"
priority = "{priority}"
[[ladder]]
model = "large"
prompt = "prompt.md"
{more}
[[ladder]]
message = "Sorry."
"""
SMALL = '[[ladder]]\nmodel = "small"\nprompt = "prompt.md"'


async def test_two_hundred_users_at_once(project, spawned, inference):
    """Two hundred ask at once of a model that takes eight: all are answered by it within the deadline, it never has more than
    eight, and tenants with twenty users each do not wait for the hundred and forty of another."""
    server = inference("--at-once", "64", "--seconds", "0.1")
    settings = model("large", server, "at_once = 8")
    root = project(settings, LADDER.format(deadline="30s", priority="interactive", more=""))
    process = spawned(root, "--port", "0")
    url = process.url
    await users(url, "answers", 4)
    groups = [("crowd", 140), ("a", 20), ("b", 20), ("c", 20)]
    found = await asyncio.wait_for(asyncio.gather(*[users(url, "answers", count, tenant) for tenant, count in groups]), 50)
    answers = [one for group in found for one in group]
    assert Counter((status, body["status"]) for status, body, _, _ in answers) == {(200, "answered"): 200}
    assert max(seconds for _, _, seconds, _ in answers) < 30
    assert server.stats["peak"] <= 8
    order = sorted((at, tenant) for (tenant, _), group in zip(groups, found, strict=True) for *_, at in group)
    last = max(n for n, (_, tenant) in enumerate(order) if tenant != "crowd")
    assert last < 150, "a fair queue has served the small tenants when about eighty are served"


async def test_the_end_of_the_quarter(project, spawned, inference):
    """A batch of summaries runs when everybody asks at once. Every interactive call is answered within its deadline, by the large
    model or, at once, by the faster one; the batch waits for the large model and gets it when they are gone; nobody gets an error
    or the fixed message."""
    large = inference("--name", "large", "--at-once", "64", "--seconds", "0.4")
    small = inference("--name", "small", "--at-once", "64", "--seconds", "0.02")
    settings = model("large", large, "at_once = 2") + model("small", small, "at_once = 16")
    files = {
        "features/summaries/feature.toml": LADDER.format(deadline="50s", priority="batch", more=""),
        "features/summaries/prompt.md": "{{ question }}\n",
    }
    root = project(settings, LADDER.format(deadline="4s", priority="interactive", more=SMALL), files)
    url = spawned(root, "--port", "0").url
    await users(url, "answers", 3)
    batch = asyncio.create_task(users(url, "summaries", 12))
    await asyncio.sleep(0.3)
    waves = []
    for _ in range(4):
        waves.append(asyncio.create_task(users(url, "answers", 20)))
        await asyncio.sleep(0.5)
    asked = [one for wave in waves for one in await asyncio.wait_for(wave, 30)]
    assert {status for status, *_ in asked} == {200}
    assert max(seconds for _, _, seconds, _ in asked) < 4 + MARGIN
    rungs = Counter((body["rung"], body["status"], body.get("reason")) for _, body, _, _ in asked)
    assert {rung for rung, _, _ in rungs} == {"large", "small"}, rungs
    assert rungs["small", "degraded", "busy"] >= 20, rungs
    done = await asyncio.wait_for(batch, 50)
    assert Counter((status, body["status"], body["rung"]) for status, body, _, _ in done) == {(200, "answered", "large"): 12}
    last = max(at for _, body, _, at in asked if body["rung"] == "large")
    before = sum(at < last for *_, at in done)
    shed = sorted(seconds for _, body, seconds, _ in asked if body["rung"] == "small")
    assert before <= 6, "the batch waits behind whoever is interactive, but for one place of sixteen"
    assert shed[len(shed) // 2] < 1, "who cannot be served in time is not kept waiting first"
    assert large.stats["peak"] <= 2


async def test_a_process_that_works_on_as_much_as_it_may(project, spawned, inference):
    """With `[server] at_once` all models together are bounded; who would wait too long is answered without a model."""
    server = inference("--at-once", "64", "--seconds", "0.5")
    settings = model("large", server) + "[server]\nat_once = 3\n"
    process = spawned(project(settings, LADDER.format(deadline="2s", priority="interactive", more="")), "--port", "0")
    url = process.url
    await users(url, "answers", 3)
    found = await asyncio.wait_for(users(url, "answers", 40), 30)
    kinds = Counter((status, body["status"], body.get("reason")) for status, body, _, _ in found)
    assert set(kinds) == {(200, "answered", None), (200, "degraded", "busy")}, kinds
    assert max(seconds for _, _, seconds, _ in found) < 2 + MARGIN
    assert server.stats["peak"] <= 3
    with process.http() as http:
        metrics = http.get("/metrics").text
    assert 'mainstay_shed_total{feature="answers"' in metrics and "mainstay_queue_seconds_count" in metrics


async def test_a_providers_own_limit_is_never_run_into(opened, inference):
    """Each answer says how many requests are still allowed: twenty calls at once wait for windows, and not one is refused."""
    server = inference("--at-once", "64", "--seconds", "0.01", "--quota", "5", "--window", "1")
    app = opened(model("large", server), LADDER.format(deadline="20s", priority="interactive", more=""))
    assert (await app.run("answers", question="first")).status == "answered"
    answers = await asyncio.wait_for(asyncio.gather(*[app.run("answers", question=f"{n}") for n in range(20)]), 30)
    assert Counter(a.status for a in answers) == {"answered": 20}
    assert server.stats == {"peak": server.stats["peak"], "asked": 21, "refused": 0}


async def test_who_has_no_time_for_the_providers_pause_goes_on_at_once(opened, inference):
    """Nothing is left for half a minute: a call with a deadline of two seconds is answered by the next rung at once."""
    server = inference("--quota", "1", "--window", "30", "--seconds", "0.01")
    app = opened(model("large", server), LADDER.format(deadline="2s", priority="interactive", more=""))
    assert (await app.run("answers", question="first")).status == "answered"
    began = time.monotonic()
    answer = await app.run("answers", question="second")
    assert (answer.status, answer.reason, answer.rung) == ("degraded", "busy", "message")
    assert time.monotonic() - began < 1.5
    assert server.stats["refused"] == 0


async def test_the_queue_of_an_inference_server_is_read(opened, inference):
    """Others fill the server's own queue: Mainstay reads its length, and a call that would wait too long goes on at once."""
    server = inference("--at-once", "1", "--seconds", "0.5")
    app = opened(
        model("large", server, f'metrics = "{server.url}/metrics"'),
        LADDER.format(deadline="2s", priority="interactive", more=""),
    )
    assert (await app.run("answers", question="first")).status == "answered"
    others = server.ask(12)
    lanes = app.features.project.models["large"].lanes
    async with asyncio.timeout(5):
        while not lanes.elsewhere:
            await asyncio.sleep(0.05)
    began = time.monotonic()
    answer = await app.run("answers", question="second")
    assert (answer.status, answer.reason) == ("degraded", "busy") and time.monotonic() - began < 1
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def test_a_server_that_tells_no_metrics_is_asked_all_the_same(opened, inference):
    """Reading the queue fails: that is as if nothing were known."""
    server = inference("--seconds", "0.01")
    app = opened(
        model("large", server, 'metrics = "http://127.0.0.1:9/metrics"'),
        LADDER.format(deadline="5s", priority="interactive", more=""),
    )
    for n in range(3):
        assert (await app.run("answers", question=f"{n}")).status == "answered"
        await asyncio.sleep(0.6)


async def test_a_model_is_kept_warm_and_the_probe_is_paid(opened, inference):
    """Nothing was asked for a second: the smallest request there is keeps the model loaded, is recorded and has its cost."""
    server = inference("--seconds", "0.01")
    settings = model("large", server, 'keep_warm = "1s"\nprice = { input = "1 USD", output = "1 USD" }')
    app = opened(settings, LADDER.format(deadline="5s", priority="interactive", more=""))
    async with asyncio.timeout(10):
        while not (records := await app.records(origin="probe")):
            await asyncio.sleep(0.1)
    assert records[0].begun.call.feature == "large" and records[0].outcome.cost_nano_usd


async def test_a_cold_model_is_passed_over_and_warmed(opened, inference):
    """It takes 1.5 s to start after a second without calls: a call with less time does without it, and the next finds it warm."""
    server = inference("--seconds", "0.01", "--start", "1.5", "--cold-after", "60")
    app = opened(
        model("large", server, 'cold_after = "1s"'),
        LADDER.format(deadline="5s", priority="interactive", more=""),
    )
    assert (await app.run("answers", question="starts")).status == "answered"
    warmth = app.features.project.models["large"].warmth
    assert warmth.start is not None and warmth.start > 1
    await asyncio.sleep(1.2)
    began = time.monotonic()
    answer = await app.run("answers", question="cold", deadline=0.9)
    assert (answer.reason, answer.rung) == ("over_deadline", "message") and time.monotonic() - began < 0.8
    async with asyncio.timeout(10):
        while warmth.cold(time.monotonic()):
            await asyncio.sleep(0.05)
    assert (await app.run("answers", question="warm", deadline=0.9)).status == "answered"
