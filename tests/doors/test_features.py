"""Mainstay's own shapes: features, answers, scores, and the door's own refusals."""

from __future__ import annotations

import asyncio
import json

import pytest
from serving import TALKING, asking, events_of, request, scripted

NAMES = {"started", "step", "text", "data", "citation", "retract", "answer"}
GUARDED = TALKING + '[guards]\noutput = [{ terms = ["AcmeCo"] }]\n'


async def test_a_question_gets_an_answer(served):
    """The plain case over HTTP: one JSON answer, its id and status in the headers too."""
    server = await served()
    response = await server.ask("Hello")
    assert response.status_code == 200
    answer = response.json()
    assert (answer["status"], answer["text"], answer["rung"]) == ("answered", "Hello", "small")
    assert response.headers["x-request-id"] == answer["id"]
    assert response.headers["x-mainstay-status"] == "answered"
    assert "x-should-retry" not in response.headers


async def test_a_stream_has_the_events_of_the_design_and_one_answer_last(served):
    """Events carry the design's names, both as SSE names and in their data; the one answer ends the stream."""
    server = await served(scripted('replies = ["one two three four"], chunk = 4'))
    response = await server.ask("?", stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    events = events_of(response.text)
    assert [name for name, _ in events] == ["started", "text", "text", "text", "text", "text", "answer"]
    assert all(data["event"] == name for name, data in events)
    assert "".join(data["text"] for name, data in events if name == "text") == "one two three four"
    started, answer = events[0][1], events[-1][1]
    assert started["id"] == answer["id"] == response.headers["x-request-id"]
    assert answer["text"] == "one two three four"


async def test_progress_is_shown_to_those_who_ask(served):
    """`progress` adds `step` events, and nobody else gets them."""
    server = await served(scripted('fault = "overloaded"'), TALKING.replace("[[ladder]]", "[[ladder]]", 1))
    with_steps = events_of((await server.ask("a", stream=True, progress=True)).text)
    without = events_of((await server.ask("b", stream=True)).text)
    assert ("step", {"event": "step", "name": "rung", "detail": "message"}) in with_steps
    assert "step" not in {name for name, _ in without}
    assert {name for name, _ in with_steps} <= NAMES


async def test_a_guard_in_mid_stream_is_a_retract_and_no_text_stays(served):
    """What was shown and must not stand is taken back by name, and the answer holds none of it."""
    server = await served(scripted('replies = ["We like all who make good coffee. AcmeCo is bad."], chunk = 3'), GUARDED)
    events = events_of((await server.ask("?", stream=True)).text)
    assert ("retract", {"event": "retract", "reason": "unsafe_output"}) in events
    answer = events[-1][1]
    assert (answer["status"], answer["reason"], answer["text"]) == ("interrupted", "unsafe_output", "")


async def test_an_answer_can_be_read_right_after_it_was_given(served):
    """GET gives the same answer as the POST, without waiting for the ledger; also under the id that OpenAI's shape shows."""
    server = await served()
    given = (await server.ask("Hello", deadline="2s", user="u1", session="s1", locale="de-CH", tenant="t1")).json()
    read = await server.http().get(f"/v1/answers/{given['id']}")
    assert (read.status_code, read.json()) == (200, given)
    assert (await server.http().get(f"/v1/answers/chatcmpl-{given['id']}")).json() == given
    call = (await server.app.record(given["id"])).begun.call
    assert (call.deadline, call.user, call.session, call.locale, call.tenant) == (2.0, "u1", "s1", "de-CH", "t1")


@pytest.mark.parametrize("id", ["nonsense", "a" + "0" * 27, "%00", "chatcmpl-", "x" * 3000])
async def test_an_unknown_answer_is_not_found(served, id):
    """What never was an answer's id, and what could be one but is not, are both 404 with a typed body."""
    server = await served()
    response = await server.http().get(f"/v1/answers/{id}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "unknown_answer"


async def test_scores_are_kept_also_before_the_record_is_in_the_ledger(served):
    """A thumb right after the answer finds its record; numbers and words are both scores."""
    server = await served()
    id = (await server.ask("Hello")).json()["id"]
    first = await server.post(f"/v1/answers/{id}/scores", {"name": "thumb", "value": 1})
    second = await server.post(f"/v1/answers/{id}/scores", {"name": "why", "value": "wrong", "reason": "It is.", "who": "user:7"})
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["record"] == id
    kept = await server.app.scores(id)
    assert [(s.name, s.value, s.who) for s in kept] == [("thumb", 1, "user"), ("why", "wrong", "user:7")]


async def test_a_score_that_is_sent_twice_counts_once_under_one_idempotency_key(served):
    """Without a key twice is twice; with the same key it is one score, and with another key another."""
    server = await served()
    id = (await server.ask("Hello")).json()["id"]
    for headers in ({}, {}, {"idempotency-key": "k1"}, {"idempotency-key": "k1"}, {"idempotency-key": "k2"}):
        await server.post(f"/v1/answers/{id}/scores", {"name": "thumb", "value": 1}, headers=headers)
    assert len(await server.app.scores(id)) == 4


async def test_a_score_for_an_unknown_answer_waits_for_it_but_not_for_what_is_no_id(served):
    """A record may still be on its way from another process, so a possible id is taken; an impossible one is told at once."""
    server = await served()
    possible = "a" + "1" * 27
    assert (await server.post(f"/v1/answers/{possible}/scores", {"name": "thumb", "value": 1})).status_code == 201
    assert len(await server.app.scores(possible)) == 1
    refused = await server.post("/v1/answers/undefined/scores", {"name": "thumb", "value": 1})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "unknown_answer")


async def test_the_features_are_listed(served):
    """GET /v1/features says what each feature takes and which rungs it has now."""
    server = await served()
    (feature,) = (await server.http().get("/v1/features")).json()["data"]
    assert (feature["name"], feature["input"], feature["history"]) == ("answers", {"question": "text"}, 4)
    assert feature["rungs"] == ["small", "message"]


@pytest.mark.parametrize(
    ("body", "param", "word"),
    [
        ({}, "input", "missing"),
        ({"input": 5}, "input", "object"),
        ({"input": {}, "colour": 1}, "colour", "unknown"),
        ({"input": {}, "stream": "yes"}, "stream", "bool"),
        ({"input": {}, "deadline": 2}, "deadline", "unit"),
        ({"input": {}, "deadline": "0s"}, "deadline", "longer"),
        ({"input": {}, "history": [{"role": "system", "text": "x"}]}, "history[0].role", "system"),
        ({"input": {}, "history": [{"role": "user"}]}, "history[0].text", "missing"),
        ({"input": {}, "tenant": ""}, "tenant", "length"),
        ([], None, "array"),
    ],
)
async def test_a_malformed_body_is_told_where(served, body, param, word):
    """Every wrong field of the native body is a 400 that names the field."""
    server = await served()
    response = await server.post("/v1/features/answers", body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert word in error["message"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_request")
    assert 'send for example {"input": {"question": "…"}}' in error["message"]
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("input", "detail"),
    [
        ({}, "missing"),
        ({"question": 5}, "has to be a text"),
        ({"question": "x", "more": 1}, "unknown input"),
        ({"question": " "}, "empty"),
    ],
)
async def test_an_input_that_does_not_fit_is_422_with_a_whole_answer(served, input, detail):
    """A readable request whose input the feature does not declare is a refusal, recorded like any other."""
    server = await served()
    response = await server.post("/v1/features/answers", {"input": input})
    answer = response.json()
    assert response.status_code == 422
    assert (answer["status"], answer["reason"]) == ("refused", "input_invalid")
    assert detail in answer["detail"]
    assert (response.headers["x-mainstay-reason"], response.headers["x-should-retry"]) == ("input_invalid", "false")
    assert (await server.http().get(f"/v1/answers/{answer['id']}")).status_code == 200


async def test_a_refused_input_in_a_stream_is_an_answer_event(served):
    """A stream has its 200 before anything is known; the refusal is its one answer."""
    server = await served()
    response = await server.post("/v1/features/answers", {"input": {}, "stream": True})
    assert response.status_code == 200
    assert [name for name, _ in events_of(response.text)] == ["started", "answer"]
    assert events_of(response.text)[-1][1]["reason"] == "input_invalid"


async def test_history_beyond_what_is_declared_is_refused(served):
    """A feature takes as many earlier turns as it declares, and not one more."""
    server = await served()
    turn = {"role": "user", "text": "before"}
    assert (await server.ask("?", history=[turn] * 4)).status_code == 200
    refused = await server.ask("?", history=[turn] * 5)
    assert (refused.status_code, refused.json()["reason"]) == (422, "input_invalid")
    assert "at most 4" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/features/answers", 405, "method_not_allowed"),
        ("POST", "/v1/features", 405, "method_not_allowed"),
        ("DELETE", "/v1/answers/a0", 405, "method_not_allowed"),
        ("GET", "/v1/answers/a0/scores", 405, "method_not_allowed"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("PUT", "/healthz", 405, "method_not_allowed"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("POST", "/v1/features/", 404, "not_found"),
        ("POST", "/v1/features/a/b", 404, "not_found"),
        ("GET", "/v1/answers/a/b/scores", 404, "not_found"),
        ("GET", "/v1/models/nothing", 404, "model_not_found"),
    ],
)
async def test_what_is_not_there_and_what_is_not_allowed_are_typed(served, method, path, status, code):
    """404 and 405 have the error body too; 405 names the method that is allowed."""
    server = await served()
    response = await server.http().request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert ("allow" in response.headers) == (status == 405)


async def test_an_unknown_feature_is_not_found_with_the_nearest_name(served):
    """A misspelt feature is 404, and the error says which one is near."""
    server = await served()
    response = await server.post("/v1/features/anwsers", {"input": {"question": "x"}})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_feature")
    assert 'did you mean "answers"?' in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json ;x=1"]
)
async def test_json_is_json_however_it_is_written(served, kind):
    """Media types are compared without regard to case and parameters."""
    server = await served()
    response = await server.http().post("/v1/features/answers", content=asking(), headers={"content-type": kind})
    assert response.status_code == 200


@pytest.mark.parametrize("headers", [{"content-type": "text/plain"}, {"content-type": "application/jsonl"}, {}])
async def test_a_body_that_is_not_json_is_415(served, headers):
    """Another media type, or none, is told what to send."""
    server = await served()
    response = await server.http().post("/v1/features/answers", content=asking(), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_media_type")


async def test_head_is_get_without_a_body(served):
    """HEAD has the headers of GET and no body, and the connection is good afterwards."""
    server = await served()
    client = server.http()
    for path in ("/healthz", "/v1/models", "/nothing"):
        head, get = await client.head(path), await client.get(path)
        assert (head.status_code, head.headers["content-length"], head.content) == (
            get.status_code,
            get.headers["content-length"],
            b"",
        )
    assert (await client.head("/v1/features/answers")).status_code == 405


async def test_health_readiness_metrics_and_the_index(served):
    """The operator's routes answer, and say ready."""
    server = await served()
    client = server.http()
    await server.ask()
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json() == {"status": "ready", "trouble": None}
    assert (await client.get("/")).json()["features"] == ["answers"]
    metrics = await client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "mainstay" in metrics.text


async def test_a_broken_ledger_is_503_and_says_so(served):
    """When records cannot be read the client is told to come back; it is no mystery 500."""
    server = await served()
    id = (await server.ask()).json()["id"]
    await server.app.record(id)
    server.app._ledger.close()
    response = await server.http().get(f"/v1/answers/{id}")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "store_unavailable")
    assert "x-should-retry" not in response.headers


async def test_identical_calls_at_once_are_all_answered(served):
    """Many clients at once, on connections of their own, each get their own answer."""
    server = await served(scripted('delay = "50ms"'))
    answers = await asyncio.gather(*(server.ask(f"q{i}") for i in range(40)))
    assert [a.json()["text"] for a in answers] == [f"q{i}" for i in range(40)]
    assert len({a.json()["id"] for a in answers}) == 40


async def test_a_key_in_the_body_twice_is_read_once(served):
    """Of a key that is given twice the last counts, as JSON readers do; it is no crash."""
    server = await served()
    body = b'{"input": {"question": "first"}, "input": {"question": "second"}}'
    got = await server.raw(request("/v1/features/answers", body, "connection: close"))
    assert json.loads(got.partition(b"\r\n\r\n")[2])["text"] == "second"
