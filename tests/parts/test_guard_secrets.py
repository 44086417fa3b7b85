"""The guard `secrets`: keys and passwords neither reach a model nor get out, in any cut, and ordinary text passes."""

from __future__ import annotations

import itertools
import random
import string

import pytest
from guarding import DELIVERIES, becomes, on_input, said, streamed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainstay.core.draft import ALLOW
from mainstay.core.model import Message, ModelRequest, ToolCall
from mainstay.parts.guards.secrets import HOLD, Secrets
from mainstay.serve.ready import ReadyGuard
from mainstay.testing import check_cuts, check_guard

CHANCE = random.Random(7)


def made(n: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Letters that are nobody's key; put together here, so that no scanner takes this file for a leak."""
    return "7" + "".join(CHANCE.choice(alphabet) for _ in range(n - 1))


KEYS = {
    "aws": "AKIA" + made(16, string.ascii_uppercase + "234567").replace("7", "Q", 1),
    "github": "ghp_" + made(36),
    "github_pat": "github_pat_" + made(50),
    "gitlab": "glpat-" + made(20),
    "openai": "sk-proj-" + made(48),
    "anthropic": "sk-ant-api03-" + made(80),
    "google": "AIza" + made(35),
    "slack": "xoxb-" + made(11, string.digits) + "-" + made(24),
    "stripe": "sk_live_" + made(24),
    "sendgrid": "SG." + made(22) + "." + made(43),
    "npm": "npm_" + made(36),
    "telegram": made(9, string.digits) + ":AA" + made(33),
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJ" + made(60) + "." + made(43),
}
SAID = {
    "in an address": ("connect to postgres://{} now", "shop:s3cr3t-pw9@db.internal"),
    "as a password": ("the password is {} for all", "hunter2Summer"),
    "in German": ('Das Passwort lautet "{}".', "Sommer2026!x"),
    "in a file": ("api_key = {}\nregion = eu", made(20)),
    "in JSON": ('{{"client_secret": "{}"}}', made(24)),
    "in a header": ("Authorization: Bearer {}", made(30)),
    "in Chinese": ("密码：{} 请保密", "abc123XYZ9"),
}
HARMLESS = (
    'Set api_key = "env:OPENAI_API_KEY" and never write the key itself.',
    "password: <your password>, token = ${TOKEN}, secret: {{ secret }}",
    "Passwords must have 12 characters. The password is required. Your secret is safe with us.",
    "See https://example.com/a?b=1 and postgres://localhost/db at 10:30.",
    "commit 3f2a9c1b7d, uuid 123e4567-e89b-12d3-a456-426614174000, sha256 " + "ab12" * 16,
    "sk-learn and skate-board; AIza; ghp_; eyJ; the token is 5.",
    "Order 4711-0815, article SKU-2026-XL, version v1.2.3-rc4+build5",
)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_keys_are_known_by_their_shape(key):
    """Each service's keys are taken out whole, wherever they stand."""
    assert becomes(Secrets(), f"Use {key}, please.") == "Use [secret], please."
    assert becomes(Secrets(), f'x="{key}"') == 'x="[secret]"'
    assert on_input(Secrets(), question=f"my key is {key}").input == {"question": "my key is [secret]"}


@pytest.mark.parametrize(("text", "secret"), SAID.values(), ids=SAID)
def test_words_beside_them_tell_the_others(text, secret):
    """What stands behind a word for a password is one, in the languages that are listed, and only it is taken out."""
    assert becomes(Secrets(), text.format(secret)) == text.format("[secret]")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text):
    """Placeholders, rules about passwords, hashes, identifiers and addresses are no secrets."""
    assert said(Secrets(), text) is ALLOW
    assert on_input(Secrets(), question=text) is ALLOW


@pytest.mark.parametrize("action", ["redact", "refuse", "retry"])
async def test_any_cut_says_the_same(action):
    """In pieces or whole, the guard takes out, stops and passes the same; a key longer than what it holds never half leaves."""
    texts = [f"Use {key}, please. And more." for key in KEYS.values()] + [t.format(s) for t, s in SAID.values()] + [*HARMLESS]
    await check_guard(Secrets(action=action), texts)


PIECES = st.sampled_from(
    [
        *KEYS.values(),
        "password: ",
        "hunter2Summer",
        " ",
        ". ",
        "is ",
        "AKIA",
        "[secret]",
        "x",
        "\n",
        "é",
        "postgres://u:pw1234567@h",
    ]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pieces=st.lists(PIECES, max_size=8), cuts=st.lists(st.integers(0, 600), max_size=12))
async def test_no_cut_lets_a_key_slip(pieces, cuts):
    """Whatever is written before and behind a key, no cut of the text shows what the whole does not."""
    text = " ".join(pieces)
    guard = Secrets()
    places = sorted({0, len(text), *[c for c in cuts if c <= len(text)]})
    parts = [text[a:b] for a, b in itertools.pairwise(places)]
    await check_cuts(ReadyGuard("secrets", guard, guard.hold), text, parts, await guard.check(_draft(text)))


def _draft(text):
    from mainstay.core.call import Call
    from mainstay.core.draft import Draft

    return Draft(call=Call(id="t", feature="f"), text=text)


def test_private_keys_and_tool_arguments_stop_the_draft():
    """A private key is refused whatever the action is, and so is a secret that a tool would be called with, escaped or not."""
    pem = "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIE"
    assert said(Secrets(), pem).action == "refuse"
    assert on_input(Secrets(), question=pem).reason == "unsafe_input"
    call = ToolCall(id="1", name="post", arguments='{"body": "\\u0067hp_' + KEYS["github"][4:] + '"}')
    assert said(Secrets(), tool_calls=(call,)).action == "refuse"


def test_data_messages_and_what_is_kept():
    """Structured answers and a plain model's messages are cleaned too; a value that you keep is none."""
    key = KEYS["github"]
    assert said(Secrets(), data={"a": [f"x {key}"], "n": 1}).data == {"a": ["x [secret]"], "n": 1}
    assert said(Secrets(action="retry"), data={"a": key}).action == "retry"
    request = ModelRequest(messages=(Message(role="user", content=f"key {key}"),))
    assert on_input(Secrets(), request=request).request.messages[0].text == "key [secret]"
    assert said(Secrets(keep=[key]), f"Use {key}") is ALLOW


@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_over_a_stream(opened, delivery):
    """Over a real stream the reader sees the answer without the key, and the text before it comes early."""
    shown, answer = await streamed(opened, '"secrets"', f"Here it is: {KEYS['anthropic']}. Keep it.", delivery)
    assert shown == answer.text == "Here it is: [secret]. Keep it."
    assert (await streamed_again(opened, delivery)).reason == "unsafe_output"


async def streamed_again(opened, delivery):
    return (await streamed(opened, '{ secrets = "refuse" }', f"Here: {KEYS['slack']}.", delivery))[1]


def test_every_key_shows_itself_within_the_hold():
    """What is held back is enough to know each shape by: the beginning of that length is taken out already."""
    for key in KEYS.values():
        assert said(Secrets(), f"Use {key}"[: HOLD + 4], complete=False).text.startswith("Use [secret]")
