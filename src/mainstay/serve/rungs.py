"""How each kind of rung writes a draft. A writer is called with an `Ask` and yields chunks; none at all means that it has
nothing to say, and the next rung is tried.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import msgspec

from mainstay.core.errors import MainstayError, ModelError
from mainstay.core.evidence import Evidence
from mainstay.core.feature import ModelRung, PromptStep, StaleRung, StepsRung
from mainstay.core.model import Chunk, ImagePart, Message, ModelRequest, OutputSchema, TextPart
from mainstay.core.reasons import Finish
from mainstay.serve import caching
from mainstay.serve.asking import Ask, attempt
from mainstay.serve.grounding import query_of
from mainstay.serve.prompts import Prompt
from mainstay.serve.quoting import quote
from mainstay.serve.ready import ServingModel
from mainstay.serve.rules import Rules

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
        """The prompt filled in, the earlier turns before its last message, and a guard's remark after it."""
        values = {**ask.values, "passages": passages_for_prompt(ask.evidence), "steps": dict(steps)}
        values["history"] = [{"role": t.role, "text": t.text} for t in ask.call.history]
        messages = self.prompt.render(values)
        if not messages:
            raise ModelError("the prompt came out empty")
        final = self._with_images(messages.pop(), ask)
        turns = [Message(t.role, t.text) for t in ask.call.history]
        messages = [*messages, *turns, final]
        if last and ask.remark:
            messages += [Message("assistant", ask.rejected), Message("user", REMARK.format(remark=ask.remark))]
        return ModelRequest(
            messages=tuple(messages),
            max_output=self._limits.max_output or self.model.max_output,
            temperature=self._limits.temperature,
            output=self._output if last else None,
        )

    def _with_images(self, message: Message, ask: Ask) -> Message:
        images = [ImagePart(ask.values[name]) for name in self._images if ask.values.get(name)]
        return message if not images else Message(message.role, (TextPart(message.text), *images))


class ModelWriter:
    """One prompt to one model."""

    def __init__(self, prompted: Prompted, spec: ModelRung, name: str) -> None:
        self._prompted, self._spec, self._name = prompted, spec, name

    def __call__(self, ask: Ask) -> Chunks:
        return attempt(
            self._prompted.model,
            self._prompted.request(ask, {}, last=True),
            ask,
            rung=self._name,
            stream=ask.stream or self._spec.first_word is not None,
            timeout=self._spec.timeout,
            first_word=self._spec.first_word,
        )


class StepsWriter:
    """Several prompts in sequence. What earlier steps wrote is kept when the last one is asked again."""

    def __init__(self, steps: tuple[tuple[str, Prompted], ...], spec: StepsRung, name: str) -> None:
        self._steps, self._spec, self._name = steps, spec, name

    async def __call__(self, ask: Ask) -> Chunks:
        *earlier, (_, final) = self._steps
        for name, prompted in earlier:
            if name not in ask.kept:
                ask.kept[name] = await self._whole(name, prompted, ask)
        request = final.request(ask, ask.kept, last=True)
        stream = ask.stream or self._spec.first_word is not None
        async for chunk in attempt(
            final.model,
            request,
            ask,
            rung=self._name,
            stream=stream,
            timeout=self._spec.timeout,
            first_word=self._spec.first_word,
        ):
            yield chunk

    async def _whole(self, name: str, prompted: Prompted, ask: Ask) -> str:
        request = prompted.request(ask, ask.kept, last=False)
        pieces = attempt(prompted.model, request, ask, rung=f"{self._name}.{name}", stream=False, timeout=self._spec.timeout)
        return "".join([chunk.text async for chunk in pieces])


class PlainWriter:
    """A caller's own request to a plain model, as it came."""

    def __init__(self, model: ServingModel, name: str) -> None:
        self._model, self._name = model, name

    def __call__(self, ask: Ask) -> Chunks:
        request = ask.call.request
        if request is None:
            raise ModelError("a plain model was called without a request")
        if request.max_output is None:
            request = msgspec.structs.replace(request, max_output=self._model.max_output)
        return attempt(self._model, request, ask, rung=self._name, stream=ask.call.stream)


class RulesWriter:
    """Patterns and look-ups."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    async def __call__(self, ask: Ask) -> Chunks:
        text = self._rules.answer(ask.values)
        if text is not None:
            yield Chunk(text=text, finish=Finish.STOP)


class CallWriter:
    """A Python function of the team: `def reply(**input)`, plain or async. It may return text, data, or None to pass.

    A plain function runs in a thread, so that it cannot hold up the event loop; one that never returns is left behind.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function, self._name = function, name
        self._async = inspect.iscoroutinefunction(function)

    async def __call__(self, ask: Ask) -> Chunks:
        ask.watch.until(ask.limit)
        try:
            result = await (self._function(**ask.values) if self._async else asyncio.to_thread(self._function, **ask.values))
        except (asyncio.CancelledError, MainstayError):
            raise
        except Exception as error:
            raise ModelError(f"the function raised {type(error).__name__}: {error}", where=self._name) from error
        if result is not None:
            yield Chunk(text=result if isinstance(result, str) else _encode(result).decode(), finish=Finish.STOP)


class SearchWriter:
    """The sentences that fit best, quoted with their source."""

    def __init__(self, source: str, quotes: int) -> None:
        self._source, self._quotes = source, quotes

    async def __call__(self, ask: Ask) -> Chunks:
        passages = [p for p in ask.evidence.passages if p.source == self._source]
        if passages:
            text, ask.citations = quote(query_of(ask.call), passages[: self._quotes])
            yield Chunk(text=text, finish=Finish.STOP)


class StaleWriter:
    """An older answer to the same call."""

    def __init__(self, spec: StaleRung) -> None:
        self._spec = spec

    async def __call__(self, ask: Ask) -> Chunks:
        found = caching.find(ask.key, ask.trace.ready, ask.parts) if ask.key is not None else None
        if found is None or found.age > self._spec.stale:
            return
        ask.citations = found.answer.citations
        data = found.answer.data
        yield Chunk(text=found.answer.text if data is None else _encode(data).decode(), finish=Finish.STOP)


class MessageWriter:
    """A fixed text, or fixed data."""

    def __init__(self, message: str | dict[str, Any]) -> None:
        self._chunk = Chunk(text=message if isinstance(message, str) else _encode(message).decode(), finish=Finish.STOP)

    async def __call__(self, ask: Ask) -> Chunks:
        yield self._chunk
