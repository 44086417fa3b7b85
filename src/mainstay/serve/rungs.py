"""How each kind of rung writes a draft. A writer is called with an `Ask` and yields chunks; none at all means that it has
nothing to say, and the next rung is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from mainstay.core.classifier import Label
from mainstay.core.errors import BadRequest, RungFailed
from mainstay.core.evidence import Evidence
from mainstay.core.feature import ModelRung, PromptStep, StaleRung, StepsRung
from mainstay.core.model import Chunk, ImagePart, Message, ModelRequest, OutputSchema, TextPart
from mainstay.core.reasons import Finish
from mainstay.serve import caching
from mainstay.serve.asking import Ask, Unusable, Whole, attempt
from mainstay.serve.classifying import Classifier
from mainstay.serve.grounding import query_of
from mainstay.serve.hedging import hedged
from mainstay.serve.inputs import spoken, text_of
from mainstay.serve.prompts import Prompt, Template
from mainstay.serve.quoting import quote
from mainstay.serve.ready import ServingModel
from mainstay.serve.rules import Rules
from mainstay.serve.slots import in_prompt

MANY = 100  # calls of one function that have not returned
Chunks = AsyncGenerator[Chunk, None]
_encode = msgspec.json.Encoder().encode
REMARK = "Your answer was not accepted: {remark}\nWrite the whole answer again, without that fault and without mentioning it."


def passages_for_prompt(evidence: Evidence) -> list[dict[str, Any]]:
    """What templates see as `passages`; `number` is what the model cites as `[1]`."""
    return [
        {
            "number": i,
            "text": p.text,
            "heading": " › ".join(p.heading),
            "source": p.source,
            "document": p.document,
            "link": p.link or "",
        }
        for i, p in enumerate(evidence.passages, 1)
    ]


class Prompted:
    """One prompt bound to one model."""

    def __init__(
        self,
        prompt: Prompt,
        model: ServingModel,
        limits: ModelRung | PromptStep,
        *,
        images: tuple[str, ...],
        output: OutputSchema | None,
    ) -> None:
        self.prompt, self.model, self._limits, self._images, self._output = prompt, model, limits, images, output

    def request(self, ask: Ask, steps: Mapping[str, str], *, last: bool) -> ModelRequest:
        """The prompt filled in, the earlier turns before its question, and a guard's remark after it. Raises `RungFailed`.

        A prompt that writes the history itself, with `{{ history }}`, is not given the turns a second time.
        """
        values = {**ask.values, "passages": passages_for_prompt(ask.evidence), "steps": dict(steps)}
        values["slots"] = in_prompt(ask.evidence.slots) if "slots" in self.prompt.used else ""
        values["history"] = [{"role": t.role, "text": t.text} for t in ask.call.history]
        messages = self.prompt.render(values)
        images = [ImagePart(ask.values[name]) for name in self._images if ask.values.get(name)]
        if not messages and not images:
            raise RungFailed("the prompt came out empty")
        question = max((i for i, m in enumerate(messages) if m.role == "user"), default=len(messages))
        if images:
            text = [TextPart(m.text) for m in messages[question : question + 1]]
            messages[question : question + 1] = [Message("user", (*text, *images))]
        if "history" not in self.prompt.used:
            messages[question:question] = [Message(t.role, t.text) for t in ask.call.history]
        if last and ask.remark:
            messages += [Message("assistant", ask.rejected), Message("user", REMARK.format(remark=ask.remark))]
        return ModelRequest(
            messages=tuple(messages),
            max_output=self._limits.max_output or self.model.max_output,
            temperature=self._limits.temperature,
            output=self._output if last else None,
        )


class ModelWriter:
    """One prompt to one model, and once more, to `second`, where the rung is hedged and the first word late."""

    def __init__(self, prompted: Prompted, spec: ModelRung, name: str, second: Prompted | None = None) -> None:
        self._prompted, self._spec, self._name, self._second = prompted, spec, name, second

    def __call__(self, ask: Ask) -> Chunks:
        first, second, hedge = self._attempts(self._prompted), self._second, self._spec.hedge
        if second is None or hedge is None:
            return first(ask)
        models = (self._prompted.model, second.model)
        return hedged(first, self._attempts(second), models, ask, rung=self._name, after=hedge.after)

    def _attempts(self, prompted: Prompted) -> Callable[[Ask], Chunks]:
        spec = self._spec
        measured = spec.first_word is not None or spec.hedge is not None
        return lambda ask: attempt(
            prompted.model,
            prompted.request(ask, {}, last=True),
            ask,
            rung=self._name,
            stream=ask.stream or measured,
            timeout=spec.timeout,
            first_word=spec.first_word,
        )


class StepsWriter:
    """Several prompts in sequence. What earlier steps wrote is kept when a later one is asked again."""

    def __init__(self, steps: tuple[tuple[str, Prompted], ...], spec: StepsRung, name: str) -> None:
        self._steps, self._spec, self._name = steps, spec, name

    async def __call__(self, ask: Ask) -> Chunks:
        *earlier, (_, final) = self._steps
        for name, prompted in earlier:
            if name not in ask.kept:
                ask.kept[name] = await self._whole(name, prompted, ask)
        request = final.request(ask, ask.kept, last=True)
        chunks = attempt(
            final.model,
            request,
            ask,
            rung=self._name,
            stream=ask.stream or self._spec.first_word is not None,
            timeout=self._spec.timeout,
            first_word=self._spec.first_word,
        )
        async with aclosing(chunks):  # a draft that is stopped in its middle is closed, and on the record, at once
            async for chunk in chunks:
                yield chunk

    async def _whole(self, name: str, prompted: Prompted, ask: Ask) -> str:
        request = prompted.request(ask, ask.kept, last=False)
        whole, pieces = Whole(), []
        async for chunk in attempt(
            prompted.model, request, ask, rung=f"{self._name}.{name}", stream=False, timeout=self._spec.timeout
        ):
            whole.add(chunk)
            pieces.append(chunk.text)
        reason = whole.unusable(laddered=True)
        if reason is not None:
            raise Unusable(reason, f"the step {name} is not to be built upon: {whole.refusal or reason}")
        return "".join(pieces)


class PlainWriter:
    """A caller's own request to a plain model, as it came."""

    def __init__(self, model: ServingModel, name: str) -> None:
        self._model, self._name = model, name

    def __call__(self, ask: Ask) -> Chunks:
        request = ask.call.request
        if request is None:
            raise BadRequest("a plain model was called without a request")
        if request.max_output is None:
            request = msgspec.structs.replace(request, max_output=self._model.max_output)
        return attempt(self._model, request, ask, rung=self._name, stream=ask.call.stream)


class RulesWriter:
    """Patterns and look-ups. The record says which rule answered."""

    def __init__(self, rules: Rules, name: str) -> None:
        self._rules, self._name = rules, name

    async def __call__(self, ask: Ask) -> Chunks:
        said = self._rules.answer(ask.values)
        if said is not None:
            ask.trace.wrote(self._name, f"rule {said.rule}")
            yield Chunk(text=said.text, finish=Finish.STOP)


class ClassifierWriter:
    """A fitted classifier, where it is sure. The record says which labels it chose, the answer how sure it was.

    `names` are the input fields that it reads. Without a `template` the labels are the answer: as data, or as the one text.
    """

    def __init__(
        self,
        classifier: Classifier,
        template: Template | None,
        *,
        sure: float,
        names: tuple[str, ...],
        structured: bool,
        name: str,
    ) -> None:
        self._classifier, self._template, self._sure = classifier, template, sure
        self._names, self._structured, self._name = names, structured, name

    async def __call__(self, ask: Ask) -> Chunks:
        guess = self._classifier.guess(text_of(ask.values, self._names))
        if guess is not None and guess.sure >= self._sure:
            ask.confidence = round(guess.sure, 4)
            chosen = ", ".join(f"{name} {label}" for name, label in guess.labels.items())
            ask.trace.wrote(self._name, f"{chosen}: {guess.sure:.0%} sure")
            yield Chunk(text=self.written(guess.labels, ask.values), finish=Finish.STOP)

    def written(self, labels: Mapping[str, Label], values: Mapping[str, Any]) -> str:
        """The draft with these labels. Raises `RungFailed` if the template cannot be filled."""
        if self._template is not None:
            return self._template.render({**values, "labels": labels})
        return _encode(labels).decode() if self._structured else str(next(iter(labels.values())))

    def seen(self, values: Mapping[str, Any]) -> bool:
        """Whether the classifier was fitted on this input: what it says to it proves nothing, so no evaluation may ask it."""
        return self._classifier.seen(text_of(values, self._names))


class CallWriter:
    """A Python function of the team: `def reply(**input)`, plain or async. It may return text, data, or None to pass.

    Data is whatever msgspec writes as JSON, and pydantic models. A plain function runs in a thread of its own, so that it
    cannot hold up the event loop; one that never returns is left behind, and `MANY` of those make the rung fail at once.
    An async function is left behind too where it will not be cancelled; one that blocks holds up everything.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function, self._name = function, name
        self._async = any(inspect.iscoroutinefunction(f) for f in (function, type(function).__call__))
        self._running = 0

    async def __call__(self, ask: Ask) -> Chunks:
        if self._running >= MANY:
            raise RungFailed(f"{self._running} calls of the function have not returned", where=self._name)
        ask.watch.until(ask.limit)
        work = asyncio.ensure_future(self._in_task(ask.values) if self._async else self._in_thread(ask.values))
        try:
            # A function that swallows its cancellation must not hold up the call: this waits for it, and not with it.
            await asyncio.wait([work])
        except asyncio.CancelledError:
            work.cancel()
            work.add_done_callback(_forget)
            raise
        try:
            text = _as_text(work.result())
        except (Exception, asyncio.CancelledError) as error:
            raise RungFailed(f"the function raised {type(error).__name__}: {error}", where=self._name) from error
        if text is not None:
            yield Chunk(text=text, finish=Finish.STOP)

    async def _in_task(self, values: Mapping[str, Any]) -> Any:
        try:
            return await self._function(**values)
        except SystemExit as error:  # which would end the event loop
            raise RuntimeError(f"SystemExit: {error}") from error

    def _in_thread(self, values: Mapping[str, Any]) -> asyncio.Future[Any]:
        """The function's result, from a thread that belongs to nobody: neither a full pool nor the process's end waits for it."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                result, error = context.run(self._function, **values), None
            except BaseException as raised:
                result, error = None, raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._settle, done, result, error)

        threading.Thread(target=work, name=f"mainstay-{self._name}", daemon=True).start()
        self._running += 1
        return done

    def _settle(self, done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._running -= 1
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}"))


def _forget(work: asyncio.Future[Any]) -> None:
    """Look at what became of it, so that nobody is told that nobody did."""
    if not work.cancelled():
        work.exception()


def _as_text(result: Any) -> str | None:
    """What a function returned, as text or as JSON. Raises `TypeError` or `ValueError` for what is neither."""
    if result is None:
        return None
    if inspect.isawaitable(result):
        raise TypeError("it returned something to be awaited; declare it with `async def`")
    if hasattr(result, "model_dump"):
        result = result.model_dump(mode="json", by_alias=True)
    if isinstance(result, bytes | bytearray | memoryview):
        raise TypeError("it returned bytes; decode them")
    text = result if isinstance(result, str) else _encode(result).decode()
    text.encode()  # a lone surrogate is no text that anybody could be sent
    return text


class SearchWriter:
    """The sentences that fit best, quoted with their source."""

    def __init__(self, source: str, quotes: int) -> None:
        self._source, self._quotes = source, quotes

    async def __call__(self, ask: Ask) -> Chunks:
        passages = [p for p in ask.evidence.passages if p.source == self._source]
        if passages:
            text, ask.citations = quote(query_of(spoken(ask.call, ask.trace.ready.feature)), passages[: self._quotes])
            yield Chunk(text=text, finish=Finish.STOP)


class StaleWriter:
    """An older answer to the same call."""

    def __init__(self, spec: StaleRung) -> None:
        self._spec = spec

    async def __call__(self, ask: Ask) -> Chunks:
        found = caching.find(ask.key, ask.trace.ready, ask.parts) if ask.key is not None else None
        if found is None or found.age > self._spec.stale:
            return
        ask.citations, ask.confidence = found.answer.citations, found.answer.confidence
        ask.evidence = caching.evidence_of(found, ask.trace)
        data = found.answer.data
        yield Chunk(text=found.answer.text if data is None else _encode(data).decode(), finish=Finish.STOP)


class MessageWriter:
    """A fixed text, or fixed data."""

    def __init__(self, message: str | dict[str, Any]) -> None:
        self._chunk = Chunk(text=message if isinstance(message, str) else _encode(message).decode(), finish=Finish.STOP)

    async def __call__(self, ask: Ask) -> Chunks:
        ask.citations = ()  # it rests on no evidence, whatever looks like a mark in it
        yield self._chunk
