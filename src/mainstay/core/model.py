"""What is said to a model and what comes back, in one vocabulary for every provider.

`serve` builds a `ModelRequest`; a provider's adapter turns it into its own wire and yields `Chunk`s. Doors
translate their clients' shapes into the same words. Shapes follow the OpenAI chat API, the field's lingua franca.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from mainstay.core.reasons import Finish

CacheMark = Literal["5m", "1h"]
"""How long the provider is asked to keep everything up to here, so that the next request with the same beginning costs less.

A hint: it changes no answer, and providers that cache on their own, or not at all, are not told.
"""


class TextPart(Struct, frozen=True, tag="text", omit_defaults=True):
    """A run of text inside a message that mixes text and images, or that ends a stretch worth caching."""

    text: str
    cache: CacheMark | None = None


class ImagePart(Struct, frozen=True, tag="image", omit_defaults=True):
    """An image as input: an `https:` address, or a `data:` URL that carries the bytes.

    `detail` is OpenAI's `low`, `high` or `auto`; other providers ignore it.
    """

    url: str
    detail: str | None = None
    cache: CacheMark | None = None


MOST_TOKENS = 10**9  # that one answer can have read or written; more is no count
Part = TextPart | ImagePart
Role = Literal["system", "user", "assistant", "tool"]


class ToolCall(Struct, frozen=True):
    """The model asks the caller to run a function; `arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


class Thought(Struct, frozen=True, omit_defaults=True):
    """A piece of reasoning that its provider wants back, byte for byte, with the turn that it belongs to.

    `kind` is `text`, `summary`, or `sealed` for what only the provider can read. `signature` is the provider's own proof.
    `format` says whose it is, such as `anthropic-claude-v1`: an adapter sends back what is its own and leaves out the rest.
    `id` is the provider's name for it; for Gemini, the tool call whose reasoning it is. The shape is that of OpenRouter's
    `reasoning_details`.
    """

    kind: Literal["text", "summary", "sealed"]
    text: str = ""
    signature: str = ""
    id: str | None = None
    format: str | None = None


class Message(Struct, frozen=True, omit_defaults=True):
    """One turn. `tool_call_id` says which call a `tool` message answers.

    `reasoning` is the reasoning as plain text; `thoughts` is the same in the form in which the provider takes it back.
    """

    role: Role
    content: str | tuple[Part, ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: str | None = None
    thoughts: tuple[Thought, ...] = ()

    @property
    def text(self) -> str:
        """The message's text, without its images."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))


class Tool(Struct, frozen=True, omit_defaults=True):
    """A function that the model may ask for; `parameters` is a JSON Schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    cache: CacheMark | None = None


class OutputSchema(Struct, frozen=True, omit_defaults=True):
    """The JSON Schema that the answer has to fit; `schema` is None for "any JSON object"."""

    name: str = "answer"
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str = ""


class ModelRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that is asked of a model in one attempt.

    `tool_choice` is `auto`, `none`, `required` or the name of one of `tools`. `max_output` is in tokens and is
    always sent, because money is reserved on it. `extra` holds fields of the caller's own wire that have no word
    here; an adapter whose wire is another one refuses them by name.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    output: OutputSchema | None = None
    max_output: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning_effort: str | None = None
    extra: dict[str, msgspec.Raw] = {}


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of one attempt, normalised: `input` includes cached ones, `output` includes reasoning.

    Anthropic counts cached input apart and OpenAI counts it in; adapters bring both to this form. Of what was written to the
    provider's cache, `cache_write_1h` is kept for an hour, which costs more. `tier` is the service tier that the provider says it
    used, in OpenAI's words (`default`, `flex`, `priority`), because a price may depend on it; empty where it says none.
    """

    input: int = 0
    output: int = 0
    cached_input: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cache_write_1h: int = 0
    tier: str = ""

    @property
    def believable(self) -> bool:
        """Whether an answer can have used that. What is less than nothing, nothing, or far too much settles no money."""
        parts = (self.input, self.output, self.cached_input, self.cache_write, self.reasoning, self.cache_write_1h)
        return min(parts) >= 0 and self.input + self.output > 0 and max(parts) <= MOST_TOKENS

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input=self.input + other.input,
            output=self.output + other.output,
            cached_input=self.cached_input + other.cached_input,
            cache_write=self.cache_write + other.cache_write,
            reasoning=self.reasoning + other.reasoning,
            cache_write_1h=self.cache_write_1h + other.cache_write_1h,
            tier=other.tier or self.tier,
        )


class Left(Struct, frozen=True):
    """What is left of a provider's rate limit, which is whole again in so many seconds; `limit` is the whole, if known."""

    left: int
    whole_in: float
    limit: int | None = None


class Quota(Struct, frozen=True, kw_only=True):
    """What a provider says that it still allows, in the head of an answer."""

    requests: Left | None = None
    tokens: Left | None = None


class Chunk(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one read from a provider brought: any of its fields may be empty.

    Tool calls and thoughts come whole, when their last fragment has arrived; `reasoning` is their text as it grows.
    `usage` comes with the last chunk: what an unfinished answer costs is not known. `model` is the name of the model that
    really answered. `quota` comes alone, in a chunk before all others, where the head of the answer told it.
    """

    text: str = ""
    reasoning: str = ""
    thoughts: tuple[Thought, ...] = ()
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish | None = None
    usage: Usage | None = None
    model: str | None = None
    quota: Quota | None = None
