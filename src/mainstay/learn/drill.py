"""The drill: a feature against every fault, through the real adapters, with a fault server in place of its providers.

Each scenario is one call, streamed or whole. Four things are asked of it: did the answer come by the deadline, is it typed, was
everything that was shown checked by the guards, and does the record tell the same as the answer and name the fault? To see a
skipped guard, the drilled release forbids a word that the server then writes, and has a witness as its last guard.

It knows nothing of settings, stores or adapters: `app.py` hands it a `Stage`. What it does not test: the network between here
and the provider, TLS, and answers that are wrong but well formed. Functions and sources of the team run as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer, Data, Event, Retract, Text
from mainstay.core.call import Call
from mainstay.core.draft import ALLOW, Draft, Verdict
from mainstay.core.errors import BadRequest, ConfigError
from mainstay.core.evidence import Passage, Viewer
from mainstay.core.feature import Feature, MessageRung, ModelRung, StepsRung
from mainstay.core.project import Model
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Record
from mainstay.core.seams import Hold
from mainstay.core.units import Seconds
from mainstay.learn.faults import FAULTS, FORBIDDEN, HEALTHY, Fault, FaultServer, Script, stand_in
from mainstay.serve.grounding import query_of
from mainstay.serve.ready import Ready, ReadyGuard

DEADLINE = Seconds(3)  # a drill is shortened to this, unless it is told otherwise
MARGIN = 0.5  # seconds past its deadline within which an answer still counts as on time
LEAST = 0.25  # seconds below which the limits of an attempt are not shortened
AT_ONCE = 6  # calls under way at the same time
PATIENCE = 5.0  # seconds past its deadline after which a call is given up
CANARY = "zugzwangkanarie"  # no model and no source writes this by chance
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TEXT = (
    "This answer was written by the fault server of the drill. It is long enough for guards that hold back a few words, or a "
    "whole sentence, to let something go. It says nothing about anything, and it ends here."
)
GOOD = (Status.ANSWERED, Status.CACHED, Status.DEGRADED)

Delivery = Literal["streamed", "whole"]


class Stage(Struct, frozen=True, kw_only=True):
    """What a drill plays on: the feature, the settings of the project's models, and what `app.py` lends.

    `bind` makes a release of a feature with these models in place of its own.
    """

    feature: Feature
    models: Mapping[str, Model]
    bind: Callable[[Feature, Mapping[str, Model]], Ready]
    serve: Callable[[Call, Ready], AsyncGenerator[Event, None]]
    record: Callable[[str], Awaitable[Record | None]]
    new_id: Callable[[], str]


class Seen(Struct, frozen=True, kw_only=True):
    """What a user saw of one call.

    `took` is in seconds, `shown` the text or data as it stood at the end, `attempts` what the record says became of each try at a
    model.
    `wrong` says what broke a promise; empty is well.
    """

    fault: str
    delivery: Delivery
    status: Status | None = None
    reason: Reason | None = None
    rung: str | None = None
    took: float
    shown: str = ""
    attempts: tuple[str, ...] = ()
    record: str
    wrong: tuple[str, ...] = ()


class Report(Struct, frozen=True, kw_only=True):
    """A whole drill. Times are in seconds; `scale` is the drill's deadline as a share of the feature's.

    `above_message` is the share of the calls with a fault that were answered by a rung above the message. `inconclusive` says
    why nothing was drilled; then only the control is among `calls`. `pinned` says that the sources held nothing for the
    drill's input, so that it brought a passage of its own.
    """

    feature: str
    deadline: float
    scale: float
    margin: float = MARGIN
    adapters: dict[str, str]
    pinned: bool
    calls: tuple[Seen, ...]
    above_message: float
    inconclusive: str = ""

    @property
    def passed(self) -> bool:
        """Whether no call broke a promise."""
        return not any(call.wrong for call in self.calls)


async def drill(
    stage: Stage,
    *,
    input: Mapping[str, Any] | None = None,
    deadline: float = DEADLINE,
    seen: Callable[[int, int], None] = lambda done, of: None,
) -> Report:
    """Run the feature against every fault. `seen` is told how many calls have ended, of how many.

    Without `input` one is made up. `deadline` can only shorten the feature's; its rungs' limits shrink with it. Raises
    `ConfigError` where the input is none that the feature takes.
    """
    rehearsal = _Rehearsal(stage, input, deadline)
    await rehearsal.pin()
    async with FaultServer(rehearsal.script()) as server:
        both: tuple[Delivery, ...] = ("streamed", "whole")
        control = [await rehearsal.call(server, HEALTHY, delivery) for delivery in both]
        of = len(both) * (1 + len(FAULTS))
        seen(len(control), of)
        if rehearsal.asks_models and HEALTHY.name not in server.requests:
            return rehearsal.report(control, rehearsal.idle(control))
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(fault: Fault, delivery: Delivery) -> Seen:
            async with turns:
                return await rehearsal.call(server, fault, delivery)

        tasks = [asyncio.create_task(one(fault, delivery)) for fault in FAULTS for delivery in both]
        try:
            for done, task in enumerate(asyncio.as_completed(tasks), len(control) + 1):
                await task
                seen(done, of)
        finally:  # whoever interrupts it closes what the calls still use
            for pending in tasks:
                pending.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return rehearsal.report(control + [task.result() for task in tasks])


class _Witness:
    """The last guard: allows everything, and remembers what the guards before it let pass, by call."""

    hold: int | Hold = 0

    def __init__(self) -> None:
        self._drafts: dict[str, list[Draft]] = {}

    async def check(self, draft: Draft) -> Verdict:
        self._drafts.setdefault(draft.call.id, []).append(draft)
        return ALLOW

    def saw(self, id: str, text: str) -> bool:
        """Whether this text was let pass, or one that begins with it."""
        return any(draft.text.startswith(text) for draft in self._drafts.get(id, ()))

    def saw_data(self, id: str, data: Any) -> bool:
        """Whether this data was let pass."""
        return any(draft.data == data for draft in self._drafts.get(id, ()))


class _Pinned:
    """A source that holds one passage, whatever is asked."""

    version = "drill"

    def __init__(self, name: str) -> None:
        self._name = name

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        return [
            Passage(id="drill", source=self._name, document="drill.md", text="Something that the drill pinned. " * 3, score=0.5)
        ]


class _Heard(Struct, kw_only=True):
    """What came out of one call: its text events, its data, and the answer or why there is none.

    `unseen` says that words came out that the guards had not seen by then, `after` how much came after the answer.
    """

    texts: list[str] = []
    data: Any = None
    everything: list[bytes] = []
    retracted: bool = False
    answer: Answer | None = None
    after: int = 0
    unseen: bool = False
    trouble: str = ""

    def add(self, event: Event) -> None:
        self.after += self.answer is not None
        self.everything.append(msgspec.json.encode(event))
        if isinstance(event, Text):
            self.texts.append(event.text)
        elif isinstance(event, Data):
            self.data = event.data
        elif isinstance(event, Retract):
            self.retracted = True
        elif isinstance(event, Answer) and self.answer is None:
            self.answer = event

    @property
    def shown(self) -> str:
        """The text that stands in front of the user."""
        return "" if self.retracted else "".join(self.texts)


class _Rehearsal:
    """One drill: the shortened feature, its input, and the releases with a fault in place of their models."""

    def __init__(self, stage: Stage, input: Mapping[str, Any] | None, deadline: float) -> None:
        self._stage, self._witness = stage, _Witness()
        self._models = {name: stage.models[name] for name in _models_of(stage.feature)}
        self._scale = min(1.0, deadline / stage.feature.deadline)
        self._feature = _shortened(stage.feature, self._scale)
        self._pinned = False
        self._own = self._ready("http://127.0.0.1:9/nobody/v1")  # asked for what it is, never served
        self._input = _made_up(self._feature) if input is None else dict(input)
        try:
            self._own.read_input(self._input)
        except BadRequest as error:
            hint = f"mainstay drill {self._feature.name} NAME=VALUE"
            raise ConfigError(f"the drill needs an input that the feature takes: {error.what}", next=hint) from None

    async def pin(self) -> None:
        """Where the sources hold nothing for the input, put one passage in their place: it is not they who are drilled."""
        query = query_of(self._call("drill", "whole"))
        sources = self._own.sources
        if sources and not [p for source in sources.values() for p in await source.search(query, limit=1, viewer=Viewer())]:
            self._pinned = True

    def script(self) -> Script:
        """What the fault server says: for a structured answer the feature's own message is known to fit its schema."""
        deadline, message = self._feature.deadline, self._message
        latency, slow = deadline / 6, deadline * 2
        if isinstance(message, str):
            return Script(healthy=TEXT, forbidden=TEXT.replace("anything", CANARY), latency=latency, slow=slow)
        return Script(
            healthy=_json(message),
            useless=_json({"drill": "this is not what the schema asks for"}),
            forbidden=_json({**message, "drill": CANARY}),
            latency=latency,
            slow=slow,
        )

    @property
    def _message(self) -> str | dict[str, Any]:
        last = self._feature.ladder[-1]
        return last.message if isinstance(last, MessageRung) else ""

    def _ready(self, url: str) -> Ready:
        """The release with all its models at that address, and a witness after its guards."""
        ready = self._stage.bind(self._feature, {name: stand_in(model, url) for name, model in self._models.items()})
        guards = (*ready.output_guards, ReadyGuard("witness", self._witness, 0))
        sources = {name: _Pinned(name) for name in ready.sources} if self._pinned else ready.sources
        return msgspec.structs.replace(ready, output_guards=guards, sources=sources)

    def _call(self, id: str, delivery: Delivery) -> Call:
        return Call(id=id, feature=self._feature.name, input=self._input, origin="drill", stream=delivery == "streamed")

    async def call(self, server: FaultServer, fault: Fault, delivery: Delivery) -> Seen:
        """Make one call under one fault, and judge it."""
        call, ready, heard = self._call(self._stage.new_id(), delivery), self._ready(server.url(fault.name)), _Heard()
        began = time.monotonic()
        listening = asyncio.create_task(self._listen(call, ready, heard))
        await asyncio.wait([listening], timeout=self._feature.deadline + PATIENCE)
        took = time.monotonic() - began
        if not listening.done():
            listening.cancel()
            heard.trouble = "it never ended"
        record = await self._stage.record(call.id)
        answer = heard.answer
        return Seen(
            fault=fault.name,
            delivery=delivery,
            status=answer.status if answer else None,
            reason=answer.reason if answer else None,
            rung=answer.rung if answer else None,
            took=round(took, 3),
            shown=heard.shown or ("" if heard.data is None else _json(heard.data)),
            attempts=tuple(_at_models(record)) if record else (),
            record=call.id,
            wrong=(
                *self._late(took),
                *_untyped(heard),
                *self._believed(heard, fault),
                *self._unchecked(heard, call.id),
                *self._unrecorded(heard, record, fault, asked=fault is not HEALTHY or fault.name in server.requests),
            ),
        )

    async def _listen(self, call: Call, ready: Ready, heard: _Heard) -> None:
        try:
            async with contextlib.aclosing(self._stage.serve(call, ready)) as events:
                async for event in events:
                    heard.add(event)
                    if isinstance(event, Text) and not self._witness.saw(call.id, "".join(heard.texts)):
                        heard.unseen = True
        except Exception as error:
            heard.trouble = f"it raised {type(error).__name__}: {error}"

    def _late(self, took: float) -> list[str]:
        deadline = self._feature.deadline
        return [f"late: {took:.2f} s, with a deadline of {deadline:g} s"] if took > deadline + MARGIN else []

    def _believed(self, heard: _Heard, fault: Fault) -> list[str]:
        """A fault that was taken for a plain answer of the model."""
        answer, harmless = heard.answer, ("healthy", "latency", "useless")
        models = [rung.name for rung in self._own.rungs if rung.spec.needs_model]
        if answer is None or fault.name in harmless or answer.status is not Status.ANSWERED or answer.rung not in models:
            return []
        return ["untyped: the fault was taken for an answer"]

    def _unchecked(self, heard: _Heard, id: str) -> list[str]:
        """What was shown has to be what the last guard saw, and must not hold the forbidden word."""
        wrong = []
        if any(CANARY.encode() in event for event in heard.everything):
            wrong.append("unchecked: the forbidden word was shown")
        if heard.unseen and "".join(heard.texts) != self._message:  # which was checked when the feature was loaded
            wrong.append("unchecked: words were shown that the guards had not seen")
        if heard.data is not None and heard.data != self._message and not self._witness.saw_data(id, heard.data):
            wrong.append("unchecked: data was shown that the guards had not seen")
        if self._feature.structured and heard.answer is not None and heard.answer.status in GOOD and heard.answer.data is None:
            wrong.append("unchecked: the answer holds none of the data that its schema promises")
        return wrong

    def _unrecorded(self, heard: _Heard, record: Record | None, fault: Fault, *, asked: bool) -> list[str]:
        """The record exists, tells the same as the answer, and names the fault if a model was asked."""
        if record is None:
            return ["unrecorded: there is no record"]
        wrong, told, answer = [], record.outcome.answer, heard.answer
        whole = self._feature.log == "full" and not self._own.hides
        same = told == answer if whole else answer and _gist(told) == _gist(answer)
        if answer is not None and not same:
            wrong.append(f"unrecorded: the record tells another answer: {told.status}, {told.reason}, by {told.rung}")
        outcomes = _at_models(record)
        asked = asked and self.asks_models
        if asked and fault.becomes.isdisjoint(outcomes):
            wrong.append(
                f"unrecorded: no attempt is {' or '.join(sorted(fault.becomes))}; there are: {', '.join(outcomes) or 'none'}"
            )
        if asked and fault is FORBIDDEN and not record.outcome.guards:
            wrong.append("unchecked: no guard spoke of the forbidden word")
        return wrong

    @property
    def asks_models(self) -> bool:
        """Whether the ladder has a rung that asks a model."""
        return any(rung.needs_model for rung in self._feature.ladder)

    def idle(self, control: list[Seen]) -> str:
        """Why no model was asked, where a rung above them answers this input; empty where something is wrong."""
        first = control[0]
        who = f"by the rung {first.rung}" if first.rung else f"as {first.status}, {first.reason}"
        return "" if any(call.wrong for call in control) else f"the call ended {who}, and no model was asked"

    def report(self, calls: list[Seen], inconclusive: str = "") -> Report:
        """The sum of it."""
        faulty = [call for call in calls if call.fault != HEALTHY.name]
        above = [call for call in faulty if call.status in GOOD and call.rung != self._own.rungs[-1].name]
        return Report(
            feature=self._feature.name,
            deadline=float(self._feature.deadline),
            scale=self._scale,
            adapters={name: stand_in(model, "").provider for name, model in self._models.items()},
            pinned=self._pinned,
            calls=tuple(calls),
            above_message=len(above) / len(faulty) if faulty else 0.0,
            inconclusive=inconclusive,
        )


def _models_of(feature: Feature) -> list[str]:
    """The models that the ladder names, each once."""
    names = [r.model for r in feature.ladder if isinstance(r, ModelRung)]
    steps = [step.model for r in feature.ladder if isinstance(r, StepsRung) for step in r.steps]
    return list(dict.fromkeys(names + steps))


def _shortened(feature: Feature, scale: float) -> Feature:
    """The feature with its deadline and its rungs' own limits scaled down, and with the forbidden word among its guards.

    The limits of an attempt stay above `LEAST`, or they would measure this machine instead of the ladder.
    """
    replace = msgspec.structs.replace
    ladder = []
    for rung in feature.ladder:
        limits = {name: getattr(rung, name, None) for name in ("needs", "timeout", "first_word")}
        least = {"needs": 0.0}
        scaled = {n: Seconds(max(t * scale, min(t, least.get(n, LEAST)))) for n, t in limits.items() if t is not None}
        ladder.append(replace(rung, **scaled))
    guards = replace(feature.guards, output=(*feature.guards.output, {"terms": {"terms": [CANARY]}}))
    return replace(feature, deadline=Seconds(feature.deadline * scale), ladder=tuple(ladder), guards=guards)


def _made_up(feature: Feature) -> dict[str, Any]:
    """An input for features whose fields are named; one with a schema has to be given."""
    samples: dict[str, Any] = {
        "text": f"A drill: {feature.summary}",
        "number": 1.5,
        "integer": 1,
        "boolean": True,
        "texts": [f"A drill: {feature.summary}"],
        "image": PIXEL,
    }
    return {name: samples[kind.rstrip("?")] for name, kind in feature.input.fields.items()}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _at_models(record: Record) -> list[str]:
    return [a.outcome for a in record.outcome.attempts if a.model is not None]


def _gist(answer: Answer) -> tuple[Any, ...]:
    return answer.status, answer.reason, answer.rung, answer.model


def _untyped(heard: _Heard) -> list[str]:
    """Every call ends in exactly one answer, with a reason wherever it is not the plain one."""
    answer = heard.answer
    if heard.trouble:
        return [f"untyped: {heard.trouble}"]
    if answer is None:
        return ["untyped: the stream ended without an answer"]
    wrong = []
    if heard.after:
        wrong.append("untyped: something came after the answer")
    if (answer.reason is None) != (answer.status in (Status.ANSWERED, Status.CACHED)):
        wrong.append(f"untyped: status {answer.status} with the reason {answer.reason}")
    if answer.status in (*GOOD, Status.INTERRUPTED) and heard.shown != answer.text:
        wrong.append("untyped: the text that was shown is not the text of the answer")
    return wrong
