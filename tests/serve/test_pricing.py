"""What an attempt can cost at most and what it did cost: nothing that is sent is forgotten, no class of tokens is free."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstay.core.errors import Empty, Lost, ModelError, Overloaded, RateLimited, Rejected, TooSlow, Unreachable
from mainstay.core.model import (
    ImagePart,
    Message,
    ModelRequest,
    OutputSchema,
    TextPart,
    Thought,
    Tool,
    ToolCall,
    Usage,
)
from mainstay.core.project import Price
from mainstay.core.units import Usd
from mainstay.serve.pricing import cost, may_cost, most_read, unpriced, worst
from mainstay.wire import anthropic_responses

HI = ModelRequest(messages=(Message("user", "Hi"),), max_output=10)
PRICE = Price(input=Usd(10**9), output=Usd(5 * 10**9), cached_input=Usd(10**8), cache_write=Usd(1_250_000_000))
LONG = "ü" * 1500


def message(**fields: object) -> ModelRequest:
    return msgspec.structs.replace(HI, messages=(Message("assistant", "", **fields),))


@pytest.mark.parametrize(
    "request_",
    [
        msgspec.structs.replace(HI, messages=(Message("user", LONG),)),
        msgspec.structs.replace(HI, messages=(Message("user", (TextPart(LONG),)),)),
        msgspec.structs.replace(HI, tools=(Tool(LONG),)),
        msgspec.structs.replace(HI, tools=(Tool("f", description=LONG),)),
        msgspec.structs.replace(HI, tools=(Tool("f", parameters={"description": LONG}),)),
        msgspec.structs.replace(HI, output=OutputSchema(schema={"description": LONG})),
        msgspec.structs.replace(HI, output=OutputSchema(description=LONG)),
        msgspec.structs.replace(HI, extra={"thinking": msgspec.Raw(f'"{LONG}{LONG}"'.encode())}),
        message(tool_calls=(ToolCall("a", "f", LONG),)),
        message(thoughts=(Thought("text", LONG),)),
        message(thoughts=(Thought("sealed", "", LONG),)),
        message(reasoning=LONG),
        message(name=LONG),
        message(tool_call_id=LONG),
    ],
)
def test_whatever_is_sent_is_in_the_bound(request_: ModelRequest):
    """Three thousand bytes count as three thousand tokens at least, wherever in the request they stand."""
    assert most_read(request_, 0) >= 3000


@given(st.text(max_size=200))
def test_the_bound_is_by_bytes_and_takes_any_text(text: str):
    """Every script, and half a surrogate pair too."""
    assert most_read(msgspec.structs.replace(HI, messages=(Message("user", text),)), 0) >= len(
        text.encode("utf-8", "surrogatepass")
    )


def test_an_image_counts_as_the_largest_that_there_is():
    """Each image counts; one that is to be seen in its own size counts as more."""
    small = ImagePart("https://example.com/a.png")
    whole = ImagePart("https://example.com/a.png", "original")
    assert most_read(msgspec.structs.replace(HI, messages=(Message("user", (small, small)),)), 5000) > 10_000
    assert most_read(msgspec.structs.replace(HI, messages=(Message("user", (whole,)),)), 5000) > 25_000


@pytest.mark.parametrize(
    ("extra", "priced"),
    [
        ({"service_tier": b'"priority"'}, False),
        ({"service_tier": b'"auto"'}, True),
        ({"service_tier": b'"flex"'}, True),
        ({"inference_geo": b'"us"'}, False),
        ({"speed": b'"fast"'}, False),
        ({"prediction": b"{}"}, False),
        ({"plugins": b"[]"}, False),
        ({"models": b"[]"}, False),
        ({"cachedContent": b'"x"'}, False),
        ({"mcp_servers": b"[]"}, False),
        ({"search_parameters": b"{}"}, False),
        ({"of_tomorrow": b"1"}, False),
        ({"top_k": b"3", "metadata": b"{}", "thinking": b"{}"}, True),
    ],
)
def test_what_multiplies_a_price_is_refused_where_money_is_limited(extra: dict[str, bytes], priced: bool):
    """Tiers, regions, searches, other models, contents that nobody sent, and fields that nobody knows."""
    found = unpriced(msgspec.structs.replace(HI, extra={name: msgspec.Raw(raw) for name, raw in extra.items()}))
    assert (found is None) is priced


@pytest.mark.parametrize(
    ("url", "image"),
    [
        ("data:image/png;base64,AA==", True),
        ("https://example.com/picture", True),
        ("https://example.com/picture.JPG?x=1.mp4", True),
        ("https://example.com/film.mp4", False),
        ("https://example.com/book.pdf", False),
        ("https://www.youtube.com/watch?v=x", False),
        ("data:video/mp4;base64,AA==", False),
    ],
)
def test_what_is_no_image_has_no_bound(url: str, image: bool):
    """A film or a book behind an address may be any number of tokens."""
    request = msgspec.structs.replace(HI, messages=(Message("user", (ImagePart(url),)),))
    assert (unpriced(request) is None) is image


USAGES = st.builds(
    lambda read, cached, write, hour, written: Usage(
        input=read + cached + write, cached_input=cached, cache_write=write, cache_write_1h=min(hour, write), output=written
    ),
    *[st.integers(0, 1000)] * 5,
)
MONEY = st.integers(0, 10**10).map(Usd)
PRICES = st.builds(
    lambda a, b, c, d, e: Price(input=a, output=b, cached_input=c, cache_write=d, cache_write_1h=e),
    MONEY,
    MONEY,
    *[st.none() | MONEY] * 3,
)


@given(USAGES, PRICES)
def test_no_usage_within_the_bound_costs_more_than_the_worst(usage: Usage, price: Price):
    """Whatever part of the input is new, cached or written to a cache, for minutes or for an hour."""
    hour = msgspec.structs.replace(HI, messages=(Message("user", (TextPart("Hi", "1h"),)),))
    request = hour if usage.cache_write_1h else HI
    assert (cost(price, usage) or 0) <= worst(price, request, usage.input, usage.output)


def test_a_cache_of_an_hour_costs_what_it_costs():
    """Twice the input where nothing else is said, as at Anthropic, whose answer says how much was kept for how long."""
    said = b"""{"type": "message", "model": "m", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn",
        "usage": {
        "input_tokens": 1, "output_tokens": 0, "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}}}"""
    usage = anthropic_responses.read_response(said, where="here").usage
    assert usage is not None and (usage.cache_write, usage.cache_write_1h) == (30, 20)
    assert cost(PRICE, usage) == 1 * 1000 + 10 * 1250 + 20 * 2000
    assert cost(msgspec.structs.replace(PRICE, cache_write_1h=Usd(3 * 10**9)), usage) == 1 * 1000 + 10 * 1250 + 20 * 3000


@pytest.mark.parametrize(
    ("error", "spent"),
    [
        (Unreachable("?"), False),
        (RateLimited("?", status=429), False),
        (Rejected("?", status=400), False),
        (Overloaded("?", status=500), False),
        (Overloaded("?", status=504), True),
        (Lost("?"), True),
        (Empty("?"), True),
        (TooSlow("?"), True),
        (ModelError("?"), True),
    ],
)
def test_what_was_sent_and_not_refused_may_be_charged_for(error: ModelError, spent: bool):
    """A connection that broke, a gateway that gave up, an empty answer: the provider may have done its work."""
    assert may_cost(error) is spent


async def test_a_plain_model_under_a_limit_refuses_a_dearer_tier_by_name(opened):
    """The caller is told which field it is; without a limit the field is sent as it came."""
    price = '[models.small]\nprovider = "scripted"\nprice = { input = "1 USD", output = "1 USD" }\n'
    request = msgspec.structs.replace(HI, extra={"service_tier": msgspec.Raw(b'"priority"')})
    for limits, asked in (('[limits]\nproject_per_day = "1 USD"\n', 0), ("", 1)):
        app = opened(price + limits)
        call = msgspec.structs.replace(app._call("small"), request=request)
        (*_, answer) = [event async for event in app.serve(call)]
        assert len(app.features.project.models["small"].provider.requests) == asked
        assert asked or "service_tier" in (answer.detail or "")
