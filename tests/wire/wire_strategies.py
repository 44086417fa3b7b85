"""Requests of every kind, for tests that hold for all of them."""

from __future__ import annotations

from hypothesis import strategies as st

from mainstay.core.model import ImagePart, Message, ModelRequest, OutputSchema, TextPart, Thought, Tool, ToolCall

text = st.text(max_size=20)
name = st.text("abcdefghij_-0123456789", min_size=1, max_size=10)
url = st.sampled_from(["https://example.org/cat.png", "data:image/png;base64,AAAA"])
mark = st.none() | st.sampled_from(["5m", "1h"])
schema = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(name, st.just({"type": "string"}), max_size=2)}
)
parts = st.lists(
    st.builds(TextPart, text=text, cache=mark)
    | st.builds(ImagePart, url=url, detail=st.sampled_from([None, "low", "high"]), cache=mark),
    min_size=1,
    max_size=3,
).map(tuple)
calls = st.lists(st.builds(ToolCall, id=name, name=name, arguments=text), min_size=1, max_size=3).map(tuple)
thoughts = st.lists(
    st.builds(
        Thought,
        kind=st.sampled_from(["text", "summary"]),
        text=text,
        signature=text,
        id=st.none() | name,
        format=st.none() | name,
    )
    | st.builds(Thought, kind=st.just("sealed"), text=text, id=st.none() | name, format=st.none() | name),
    max_size=2,
).map(tuple)
messages = st.lists(
    st.builds(Message, role=st.sampled_from(["system", "user"]), content=text | parts, name=st.none() | name)
    | st.builds(Message, role=st.just("assistant"), content=text, reasoning=st.none() | text.filter(bool), thoughts=thoughts)
    | st.builds(Message, role=st.just("assistant"), content=text, tool_calls=calls)
    | st.builds(Message, role=st.just("tool"), content=text | parts, tool_call_id=name),
    min_size=1,
    max_size=4,
).map(tuple)
tools = st.lists(
    st.builds(Tool, name=name, description=text, parameters=st.none() | schema, strict=st.none() | st.booleans(), cache=mark),
    max_size=2,
).map(tuple)
requests = st.builds(
    ModelRequest,
    messages=messages,
    tools=tools,
    tool_choice=st.none() | st.sampled_from(["auto", "none", "required", "get_weather"]),
    parallel_tool_calls=st.none() | st.booleans(),
    output=st.none() | st.builds(OutputSchema, name=name, schema=schema, strict=st.none() | st.booleans(), description=text),
    max_output=st.none() | st.integers(1, 10**6),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    stop=st.lists(text, max_size=2).map(tuple),
    seed=st.none() | st.integers(-(2**60), 2**60),
    reasoning_effort=st.none() | st.sampled_from(["low", "high"]),
)
