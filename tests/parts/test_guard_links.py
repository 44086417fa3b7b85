"""The guard `links`: whatever a browser would follow leads to an allowed host, or is taken out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from guarding import DELIVERIES, becomes, on_input, said, streamed
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mainstay.core.draft import ALLOW
from mainstay.core.model import ToolCall
from mainstay.parts.guards.links import Links
from mainstay.serve.guarding import Screening
from mainstay.serve.ready import ReadyGuard
from mainstay.testing import _trace, check_guard

GOOD = Links(allow=["good.com", "bücher.de"])
BAD_TARGETS = (
    *("https://evil.com", "http://evil.com/x", "HTTPS://EVIL.COM", "//evil.com/x", "///evil.com", r"\\evil.com", r"/\evil.com"),
    *(
        "https:evil.com",
        r"https:\\evil.com",
        "https://good.com@evil.com",
        "https://good.com:x@evil.com/",
        "https://evil.com?good.com",
    ),
    *(
        "https://evil.com#good.com",
        r"https://evil.com\.good.com",
        "https://good.com.evil.com",
        "https://evilgood.com",
        "https://gооd.com",
    ),
    *(
        "https://xn--gd-7kcaa.com",
        "https://good.com%2eevil.com",
        "https://evil.com%2f.good.com",
        "https://evil。com",
        "https://ｅvil.com",
    ),
    *("javascript:alert(1)", "JaVaScript:alert", "java&#115;cript:alert", "data:text/html,x", "vbscript:x", "file:///etc/passwd"),
    *(
        "&#104;ttps://evil.com",
        "https://127.0.0.1",
        "http://[::1]/",
        "https://2130706433/",
        "ftp://good.com/x",
        "https://evil.com:443",
    ),
    *("https://good.com\u200b.evil.com", "https://" + "a" * 70 + "@good.com.evil.com/", "https://"),
)
GOOD_TARGETS = (
    *("https://good.com", "https://good.com/a?b=c#d", "http://www.good.com:8080/x", "//good.com/x", "HTTPS://GOOD.COM."),
    *("/help", "help.md#part", "#part", "../x", "?q=1", "mailto:a@evil.com", "tel:+41441234567"),
    *("https://bücher.de/x", "https://xn--bcher-kva.de", "https://user@good.com/", "https://ＧＯＯＤ.com"),
)


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_no_way_to_write_a_foreign_link_passes(target):
    """Markdown's links, images, references and angle brackets, and HTML's attributes, all end nowhere."""
    for form in ("See [here]({}) now", "![x]({})", "[x](<{}>)", '<a href="{}">x</a>', "<img src='{}'>", "[a]: {}\n"):
        text = form.format(target)
        made = becomes(GOOD, text)
        assert "#link-removed" in made and "evil" not in made and "alert" not in made, text
        assert becomes(GOOD, made) == made


@pytest.mark.parametrize("target", GOOD_TARGETS)
def test_what_is_allowed_stays(target):
    """Allowed hosts with path, port and user, their punycode and full-width forms, pages without a host, mail and telephone."""
    for form in ("See [here]({}) now", '<a href="{}">x</a>'):
        assert said(GOOD, form.format(target)) is ALLOW


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("See https://evil.com/x?q=1.", "See [link]."),
        ("See https://good.com/x, or (http://evil.com).", "See https://good.com/x, or ([link])."),
        ("www.evil.com and evil.com/path, good.com too", "[link] and [link], good.com too"),
        ("<https://evil.com>", "<[link]>"),
        ("<javascript:alert>", "<[link]>"),
        ("https://good.com@evil.com/", "[link]"),
        ("login.evil.io. Next", "[link]. Next"),
        ("evil.com:8080/x", "[link]"),
    ],
)
def test_bare_addresses(text, left):
    """An address that only looks like one is linked by many readers, so it is taken out as well; the sentence around it stays."""
    assert becomes(GOOD, text) == left


@pytest.mark.parametrize(
    "text",
    [
        "Open feature.toml, prompts/answer.md and e.g. main.py; node.js 3.5 costs 1.299,00.",
        "The data: three files. Use a//b and C:\\temp; 10:30 - see section 2.1).",
        "ann@evil.com wrote it. [1] cites [a passage][2].",
        "std::vector<int>, x[i](y), array[0]: value",
    ],
)
def test_text_that_only_looks_a_little_like_a_link_stays(text):
    """File names, mail addresses, citations and code are no links."""
    assert said(GOOD, text) is ALLOW


def test_options():
    """Relative links may be forbidden; a draft may be asked again; inputs and tool arguments are refused; data is cleaned."""
    assert becomes(Links(relative=False), "[x](/help) [y](#z)") == "[x](#link-removed) [y](#z)"
    assert said(Links(action="retry"), "https://evil.com/").remark == "the answer may not link to evil.com"
    assert on_input(GOOD, question="read https://evil.com/").reason == "unsafe_input"
    assert on_input(GOOD, question="read https://good.com/") is ALLOW
    assert said(GOOD, data={"a": ["https://evil.com/"]}).data == {"a": ["[link]"]}
    assert said(GOOD, tool_calls=(ToolCall(id="1", name="get", arguments='{"u": "https:\\/\\/evil.com"}'),)).action == "refuse"
    with pytest.raises(ValueError, match=r"example\.com"):
        Links(allow=["https://x.com/y"])


async def test_conformance():
    """Whole or in pieces of any size the guard says the same of every way to write a link."""
    texts = [f"See [here]({t}) and ![it]({t}), or {t} now." for t in (*BAD_TARGETS, *GOOD_TARGETS)]
    for guard in (GOOD, Links(), Links(allow=["good.com"], relative=False, action="refuse")):
        await check_guard(guard, texts)


PIECES = st.sampled_from(
    [
        *(
            "https://",
            "good.com",
            "evil.com",
            "@",
            "/",
            ".",
            "](",
            ")",
            "[x",
            "//",
            "javascript:",
            "www.",
            "evil.",
            "com",
            " ",
            "\n",
        ),
        *("[link]", "#link-removed", "#", "?q=", "a", "<", ">", "é", "\\", ":", "href=", '"', "and then some more words "),
    ]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(pieces=["good.com", ".", "@"], cuts=[1])
@given(pieces=st.lists(PIECES, max_size=14), cuts=st.lists(st.integers(0, 200), max_size=12))
async def test_no_cut_lets_a_link_slip(pieces, cuts):
    """However addresses are put together and cut, what the reader sees holds no link that the guard would not let pass."""
    text = "".join(pieces)
    places = sorted({0, len(text), *[c for c in cuts if c <= len(text)]})
    shown: list[str] = []
    screening = Screening(_trace(), rung="test", guards=(ReadyGuard("links", GOOD, GOOD.hold),), early=True, release=shown.append)
    for a, b in pairwise(places):
        assert await screening.add(text[a:b]) is None
    assert await screening.complete() is None
    assert said(GOOD, "".join(shown)) is ALLOW


@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_over_a_stream(opened, delivery):
    """An image that would carry the question out goes nowhere, over a real stream; a long one is taken out to its end."""
    long = "https://evil.com/i.png?q=" + "secret" * 60
    shown, answer = await streamed(opened, '{ links = ["good.com"] }', f"See ![i]({long}) and https://good.com/x.", delivery)
    assert shown == answer.text == "See ![i](#link-removed) and https://good.com/x."
    stopped = await streamed(opened, '{ links = { action = "refuse" } }', "See https://evil.com/x now.", delivery)
    assert "evil" not in stopped[0]
    assert stopped[1].reason == "unsafe_output"
