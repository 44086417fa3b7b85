"""Gemini's quotas over a real socket: it says them in the body of a 429, and says nothing in the heads of its answers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from provider_backend import Backend, Scene

TYPE = "type.googleapis.com/google.rpc."
MINUTE, DAY = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
FEATURE = """
    summary = "Answers"
    deadline = "{deadline}"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    tries = 2
    [[ladder]]
    message = "Sorry."
"""


def said(*quotas: str, retry: str | None = None) -> dict[str, Any]:
    """What Google answers with a 429."""
    details: list[dict[str, Any]] = []
    if quotas:
        violations = [{"quotaMetric": "generativelanguage/requests", "quotaId": q, "quotaValue": "15"} for q in quotas]
        details.append({"@type": TYPE + "QuotaFailure", "violations": violations})
    details.append({"@type": TYPE + "Help", "links": [{"description": "Learn more", "url": "https://example.com"}]})
    if retry is not None:
        details.append({"@type": TYPE + "RetryInfo", "retryDelay": retry})
    return {"error": {"code": 429, "message": "You exceeded your quota.", "status": "RESOURCE_EXHAUSTED", "details": details}}


def settings(backend: Backend) -> str:
    return f'[models.small]\nprovider = "gemini"\nmodel = "gemini-x"\nurl = "{backend.url}"\n'


@pytest.mark.parametrize("in_a_list", [False, True])
@pytest.mark.parametrize(
    ("error", "least"),
    [
        (said(MINUTE, retry="40s"), 30),
        (said(retry="39.996s"), 30),
        (said(MINUTE), 50),
        (said("GenerateRequestsPerHourPerProject"), 3000),
        (said(DAY, retry="3s"), 3000),
        (said(MINUTE, DAY, retry="3s"), 3000),
        (said(DAY), 3000),
    ],
)
async def test_a_quota_that_was_passed_closes_the_model_for_all_calls(opened, error, least, in_a_list):
    """One call runs into it; no other asks until it is whole again. A day's quota is not whole in the seconds of the hint."""
    async with Backend("gemini", Scene(status=429, error=[error] if in_a_list else error)) as backend:
        app = opened(settings(backend), FEATURE.format(deadline="2s"))
        for question in ("one", "two", "three"):
            began = time.monotonic()
            answer = await app.run("answers", question=question)
            assert (answer.status, answer.rung) == ("degraded", "message")
            assert time.monotonic() - began < 1.5, "nobody waits for what cannot be whole in time"
        assert len(backend.seen) == 1
        lanes = app.features.project.models["small"].lanes
        assert least < lanes._allowance.pause(time.monotonic()) <= 3600


@pytest.mark.parametrize("stream", [False, True])
async def test_a_short_pause_is_waited_for_and_kept_by_all(opened, stream):
    """Where there is time, calls wait as long as Google asks, and not one of them runs into the quota again."""
    delivery = {True: "", False: 'delivery = "checked"\n'}
    async with Backend("gemini", Scene(status=429, error=said(MINUTE, retry="0.6s"))) as backend:
        app = opened(settings(backend), delivery[stream] + FEATURE.format(deadline="8s"))
        first = asyncio.create_task(app.run("answers", question="0"))
        async with asyncio.timeout(5):
            while not backend.seen:
                await asyncio.sleep(0.01)
        await backend.idle()
        began = time.monotonic()
        backend.scene = replace(backend.scene, status=200)
        answers = await asyncio.gather(first, *[app.run("answers", question=f"{n}") for n in range(1, 4)])
        assert [answer.status for answer in answers] == ["answered"] * 4
        assert time.monotonic() - began > 0.3
        assert len(backend.seen) == 5


@pytest.mark.parametrize(
    "details",
    [
        "soon",
        [7],
        [{"@type": TYPE + "QuotaFailure"}],
        [{"@type": TYPE + "QuotaFailure", "violations": "many"}],
        [{"@type": TYPE + "QuotaFailure", "violations": [3, {"quotaId": 4}, {}]}],
        [{"@type": TYPE + "RetryInfo", "retryDelay": 7}],
        [{"@type": TYPE + "RetryInfo", "retryDelay": "-7s"}],
    ],
)
async def test_a_429_that_explains_nothing_is_tried_again(opened, details):
    """Vertex often gives no details, and garbage is no pause: the second try is the ordinary one."""
    error = {"error": {"code": 429, "message": "Resource exhausted.", "status": "RESOURCE_EXHAUSTED", "details": details}}
    async with Backend("gemini", Scene(status=429, error=error)) as backend:
        app = opened(settings(backend), FEATURE.format(deadline="5s"))
        answer = await app.run("answers", question="one")
        assert (answer.status, len(backend.seen)) == ("degraded", 2)
