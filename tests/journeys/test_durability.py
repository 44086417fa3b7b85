"""Promise 5 with a real server under load and kill -9: what was answered is sealed, what was begun has ended, none is twice."""

from __future__ import annotations

import itertools
import json
import re
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import httpx2
import pytest
from serving import TALKING, asking, events_of, scripted

from mainstay.at_rest import history
from mainstay.core.record import Record

LOAD = scripted('chunk = 5, gap = "15ms"')
PATIENT = TALKING.replace('deadline = "5s"', 'deadline = "60s"')


class Load:
    """Clients that ask one question after the other, whole and streamed, until the server is gone.

    `complete` are the answers that came whole, by question; `asked` all questions that were sent.
    """

    def __init__(self, url: str, clients: int) -> None:
        self.complete: dict[str, dict] = {}
        self.asked: set[str] = set()
        self._url, self._stop = url, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,), daemon=True) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, client: int) -> None:
        with httpx2.Client(base_url=self._url, timeout=10, trust_env=False) as http:
            for n in itertools.count():
                question, stream = f"client {client} question {n}", client % 2 == 0
                self.asked.add(question)
                try:
                    response = http.post("/v1/features/answers", json={"input": {"question": question}, "stream": stream})
                except httpx2.HTTPError:
                    return
                if response.status_code == 503 and self._stop.is_set():  # it drains
                    return
                assert response.status_code == 200
                answer = events_of(response.text)[-1][1] if stream else response.json()
                self.complete[question] = answer

    def expect_the_end(self) -> None:
        """From now on the server may say that it drains."""
        self._stop.set()

    def ended(self) -> None:
        for thread in self._threads:
            thread.join(15)


def begun_in(spool: Path) -> set[str]:
    """The calls whose first half lies in the spool."""
    return {id.decode() for path in spool.iterdir() for id in re.findall(rb'"is":"begun","id":"(\w+)"', path.read_bytes())}


def ledger_of(root: Path) -> list[Record]:
    ledger = history(root)
    try:
        return ledger.records(where={}, limit=100_000)
    finally:
        ledger.close()


def told(record: Record) -> tuple:
    answer = record.outcome.answer
    return str(answer.status), answer.reason and str(answer.reason), answer.text


def test_kill_9_under_load_loses_nothing_and_doubles_nothing(project, spawned):
    """Twice: a server under load is killed with -9 and started again. Each answer that was complete at its reader has its sealed
    record, with that text; each call that was begun has a record, `process_died` where it did not end; no id is there twice."""
    root = project(LOAD, PATIENT)
    complete: dict[str, dict] = {}
    asked: set[str] = set()
    begun: set[str] = set()
    for _ in range(2):
        process = spawned(root, "--port", "0")
        load = Load(process.url, clients=12)
        process.until(lambda: len(load.complete) > 60)  # noqa: B023  it is called at once
        process.stop(signal.SIGKILL)
        process.ended()
        load.ended()
        complete |= {f"{process.popen.pid} {q}": a for q, a in load.complete.items()}
        asked |= load.asked
        begun |= begun_in(root / ".mainstay" / "spool")
    last = spawned(root, "--port", "0")
    assert last.url
    last.stop()
    assert last.ended() == 0
    found = ledger_of(root)
    assert [id for id, n in Counter(r.id for r in found).items() if n > 1] == []
    sealed = {r.id: r for r in found}
    assert begun
    assert begun <= sealed.keys()
    for question, answer in complete.items():
        record = sealed[answer["id"]]
        assert told(record) == ("answered", None, answer["text"])
        assert question.endswith(record.begun.call.input["question"])
    open_ends = [r for r in found if r.outcome.answer.reason == "process_died"]
    assert {r.outcome.answer.status for r in open_ends} == {"interrupted"}
    assert all(r.outcome.cost_nano_usd is None for r in open_ends)
    assert {told(r)[:2] for r in found} == {("answered", None), ("interrupted", "process_died")}
    assert {r.begun.call.input["question"] for r in found} <= asked
    assert last.spool() == []


def test_a_second_process_takes_over_what_the_first_left(project, spawned):
    """Two servers on one folder: one is killed, the other goes on; when it ends, the ledger holds what both answered."""
    root = project(LOAD, PATIENT)
    first, second = spawned(root, "--port", "0"), spawned(root, "--port", "0")
    loads = [Load(first.url, clients=4), Load(second.url, clients=4)]
    first.until(lambda: all(len(load.complete) > 15 for load in loads))
    first.stop(signal.SIGKILL)
    first.ended()
    loads[0].ended()
    loads[1].expect_the_end()
    second.stop()
    assert second.ended() == 0
    loads[1].ended()
    third = spawned(root, "--port", "0")
    assert third.url
    third.stop()
    assert third.ended() == 0
    found = ledger_of(root)
    assert len({r.id for r in found}) == len(found)
    assert {a["id"] for load in loads for a in load.complete.values()} <= {r.id for r in found if told(r)[0] == "answered"}


@pytest.mark.parametrize("path", ["/v1/features/answers", "/v1/chat/completions"])
def test_sigterm_lets_every_stream_end(project, spawned, path):
    """SIGTERM among twenty running streams, in either shape: all end as they would have, and all are on record as answered."""
    process = spawned(project(scripted('chunk = 4, gap = "100ms"'), PATIENT), "--port", "0")
    text = "a question of some length, which is repeated"
    body = asking(text, stream=True)
    if path.endswith("completions"):
        body = json.dumps({"model": "answers", "stream": True, "messages": [{"role": "user", "content": text}]}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    sockets = [socket.create_connection(("127.0.0.1", process.port), timeout=20) for _ in range(20)]
    for one in sockets:
        one.sendall(head.encode() + body)
    heads = [one.recv(100) for one in sockets]
    assert all(h.startswith(b"HTTP/1.1 200") for h in heads)
    process.stop()
    said = []
    for one in sockets:
        data = b""
        while piece := one.recv(65536):
            data += piece
        said.append(data)
        one.close()
    assert process.ended() == 0
    end = b"data: [DONE]" if path.endswith("completions") else b'"status":"answered"'
    assert [end in data for data in said] == [True] * 20
    assert [told(r) for r in ledger_of(process.root)] == [("answered", None, text)] * 20
    assert process.spool() == []


def test_a_ledger_that_is_locked_by_another_delays_no_answer(project, spawned):
    """Somebody holds the ledger's write lock for seconds: calls are answered meanwhile, and all are on record afterwards."""
    import apsw

    process = spawned(project(scripted(), PATIENT), "--port", "0")
    with process.http() as client:
        client.get("/healthz")
        db = apsw.Connection(str(process.root / ".mainstay" / "ledger.db"))
        db.execute("begin immediate")
        took = []
        for n in range(20):
            began = time.monotonic()
            assert client.post("/v1/features/answers", json={"input": {"question": f"{n}"}}).json()["status"] == "answered"
            took.append(time.monotonic() - began)
            time.sleep(0.05)
        db.execute("rollback")
        db.close()
    assert max(took) < 1
    process.stop()
    assert process.ended() == 0
    assert len(ledger_of(process.root)) == 20
