"""What an attempt can cost at most, before it is asked, and what it did cost.

Prices are in nano-dollars per million tokens, costs in nano-dollars.

The bound on the input is by its UTF-8 bytes: every tokenizer of a provider that we know makes at most one token of a byte. To it
come allowances for what providers add (a message's frame, the words that explain tools and schemas to a model) and for images.
`python -m bench.wire` holds the bound against recorded exchanges of real providers.
"""

from __future__ import annotations

import mimetypes
from urllib.parse import urlsplit

import msgspec

from mainstay.core.errors import Lost, ModelError, Overloaded, RateLimited, Rejected, Unauthorized, Unreachable, Unsupported
from mainstay.core.model import ImagePart, Message, ModelRequest, TextPart, Usage
from mainstay.core.project import Price

MILLION = 1_000_000
REQUEST, MESSAGE, TOOLS, TOOL, SCHEMA = 64, 16, 1024, 64, 512  # tokens that providers add, each more than was ever seen
LARGEST_IMAGE = 25_000  # tokens of one that is to be seen in its own size
_encode = msgspec.json.Encoder().encode

# Fields of a caller's own wire that change what is written and not what a token costs, nor how many can be read or written.
_HARMLESS = frozenset(
    """presence_penalty frequency_penalty logit_bias metadata store user safety_identifier prompt_cache_key verbosity labels
    top_k topK top_a min_p repetition_penalty repeat_penalty length_penalty min_tokens ignore_eos stop_token_ids random_seed
    skip_special_tokens spaces_between_special_tokens guided_json guided_regex guided_choice guided_grammar chat_template_kwargs
    thinking thinkingConfig reasoning include_reasoning reasoning_format reasoning_split enable_thinking thinking_budget
    mediaResolution safetySettings safe_prompt cache_control logprobs top_logprobs functions function_call audio modalities
    web_search_options""".split()
)  # the last six are refused at the door unless they ask for nothing
# "auto" is what a provider does anyway where nothing is said.
_USUAL = {"service_tier": (b'"auto"', b'"default"', b'"flex"', b'"standard_only"', b'"on_demand"', b"null")}
_NOTHING_ASKED = (Unsupported, Rejected, Unauthorized, RateLimited, Overloaded, Unreachable)
_LATE = (408, 504, 524)  # a gateway on the way gave up; what it waited for may have gone on


def most_read(request: ModelRequest, image: int) -> int:
    """No fewer tokens than the request can have; `image` is for each image in it."""
    size = REQUEST + sum([_message(message, image) for message in request.messages])
    if request.tools:
        size += TOOLS
        for tool in request.tools:
            size += TOOL + _bytes(tool.name) + _bytes(tool.description) + 2 * len(_encode(tool.parameters))
    if request.output is not None:
        size += SCHEMA + _bytes(request.output.name) + _bytes(request.output.description)
        size += 2 * len(_encode(request.output.schema))
    return size + sum([len(name) + len(raw) for name, raw in request.extra.items()])


def _message(message: Message, image: int) -> int:
    size = MESSAGE
    if isinstance(message.content, str):
        size += _bytes(message.content)
    else:
        for part in message.content:
            if isinstance(part, TextPart):
                size += 4 + _bytes(part.text)
            else:
                size += max(image, LARGEST_IMAGE) if part.detail == "original" else image
    if message.tool_call_id or message.name or message.tool_calls or message.thoughts or message.reasoning:
        size += _beside(message)
    return size


def _beside(message: Message) -> int:
    """What a message has beside its content."""
    size = _bytes(message.tool_call_id or "") + _bytes(message.name or "")
    for call in message.tool_calls:
        size += MESSAGE + _bytes(call.id) + _bytes(call.name) + _bytes(call.arguments)
    for thought in message.thoughts:
        size += MESSAGE + _bytes(thought.text) + _bytes(thought.signature) + _bytes(thought.id or "")
    return size + _bytes(message.reasoning or "")


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def unpriced(request: ModelRequest) -> str | None:
    """What of a request may cost more than its tokens do by their price, or read what nobody counted; None if nothing does."""
    for name, value in request.extra.items():
        if name not in _HARMLESS and bytes(value) not in _USUAL.get(name, ()):
            return f"`{name}`, because it may change what a call costs, where money or tokens are limited"
    for message in request.messages:
        if not isinstance(message.content, str):
            for part in message.content:
                if isinstance(part, ImagePart) and not _is_image(part.url):
                    return "something other than an image, because nobody knows its tokens, where money or tokens are limited"
    return None


def _is_image(url: str) -> bool:
    if url[:5].lower() == "data:":
        return url[5:11].lower() == "image/"
    parts = urlsplit(url)
    kind = mimetypes.guess_type(parts.path)[0] or "image/"
    return kind.startswith("image/") and not (parts.hostname or "").endswith(("youtube.com", "youtu.be"))


def worst(price: Price | None, request: ModelRequest, read: int, written: int) -> int:
    """The most that so many tokens may cost; 0 without a price."""
    if price is None:
        return 0
    hour = _hour(price) if _for_an_hour(request) else 0
    dearest = max(price.input, price.cached_input or 0, price.cache_write or 0, hour)
    return -(-(read * dearest + written * price.output) // MILLION)


def cost(price: Price | None, usage: Usage) -> int | None:
    """What this usage costs, rounded up; None where the price is unknown."""
    if price is None:
        return None
    cached = price.input if price.cached_input is None else price.cached_input
    write = price.input if price.cache_write is None else price.cache_write
    hour = min(usage.cache_write_1h, usage.cache_write)
    plain = max(0, usage.input - usage.cached_input - usage.cache_write)
    total = plain * price.input + usage.cached_input * cached + usage.output * price.output
    total += (usage.cache_write - hour) * write + hour * _hour(price)
    return -(-total // MILLION)


def may_cost(error: ModelError) -> bool:
    """Whether a provider may charge for a request that ended so, before anything of an answer came."""
    return not isinstance(error, _NOTHING_ASKED) or isinstance(error, Lost) or error.status in _LATE


def _hour(price: Price) -> int:
    """A token that is kept for an hour: twice the input, where nothing else is said, as at Anthropic."""
    return max(2 * price.input, price.cache_write or 0) if price.cache_write_1h is None else price.cache_write_1h


def _for_an_hour(request: ModelRequest) -> bool:
    """Whether anything of it is to be cached for an hour."""
    for message in request.messages:
        if not isinstance(message.content, str) and any(part.cache == "1h" for part in message.content):
            return True
    if request.tools and any(tool.cache == "1h" for tool in request.tools):
        return True
    return "cache_control" in request.extra and b'"1h"' in bytes(request.extra["cache_control"])
