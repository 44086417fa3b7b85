"""`links`: only links to the domains that you allow.

Options: `allow`, the domains (a subdomain of an allowed one is allowed); `relative`, whether links without a host are (true);
`action`: `redact` (default: the address becomes `#link-removed`, or `[link]` where it stands alone), `retry`, or `refuse`.

Every way to write a link is read as a browser would: Markdown's links, images and references, HTML's `href` and `src`,
addresses in angle brackets, bare `https://…`, `www.…` and hosts such as `evil.com/x`; `//evil.com`, backslashes, percent signs
and entities, user names before an `@`, ports, and letters of other scripts that look like Latin ones: what is not surely an
allowed host is none. `javascript:`, `data:` and all other schemes but `http`, `https`, `mailto` and `tel` are never allowed. An
image can carry data out without a click, so it is a link like any other.

Limits: bare hosts are known by the most common endings; links in code are links too.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import unquote

import re2
from msgspec import Meta, Struct

from mainstay.core.draft import ALLOW, Draft, Verdict, refuse, replace, retry
from mainstay.core.reasons import Reason
from mainstay.parts.texts import calm, read_arguments, readable, texts_in, texts_of, through

LINK, NOWHERE = "[link]", "#link-removed"
HOST = 64  # characters within which an address has to say its host
HOLD = HOST + 16
BEFORE = 24
_ENDINGS = (
    "com|net|org|info|biz|io|ai|app|dev|co|me|xyz|top|site|online|club|shop|store|live|link|click|page|cloud|space|website|icu|vip"
    "|ru|cn|de|fr|es|it|nl|pl|uk|us|eu|ch|at|be|se|no|dk|fi|pt|cz|in|jp|kr|br|au|ca|tk|ml|ga|cf|gq|tv|cc|gg|ly|to|ws|edu|gov|mil"
)
_OUT = r"\s<>\"'`|)"  # what no address goes on with
_GOES_ON = rf"(?:[.,;:!?]*[^{_OUT}\[\](.,;:!?])+"  # the point behind it is the sentence's
_TAIL = re.compile(rf"[^{_OUT}]*")
# What is found, as `kind`; where it begins, which RE2 finds soonest; and the whole of it, in group 1.
_KINDS = (
    ("rest", r"\[link\]", rf"(\[link\](?=[\w/?#=&%:.,;!~+@-]){_GOES_ON})"),  # of one whose beginning was taken out
    ("rest", r"#link-removed", rf"(#link-removed[^{_OUT}]+)"),
    ("target", r"\]\(|\]:", rf"(?:\]\(\s?<?|\]:\s{{0,2}}<?)([^{_OUT}]+)"),
    ("target", r"(?i)\b(?:href|src|srcset|action|poster)\s?=", rf"\w+\s?=\s?[\"']?([^{_OUT}]+)"),
    ("address", r"<", rf"<([a-z][a-z0-9+.-]{{1,20}}:[^{_OUT}]*)"),
    ("address", r"(?i)(?:https?|ftp|wss?):[/\\]{2}", rf"(?<![\w@/.])(\w+:[/\\]{{2,}}{_GOES_ON})"),
    ("host", r"(?i)www\.", rf"(?<![\w@/.])(www\.{_GOES_ON})"),
    (
        "host",
        rf"(?i)[a-z0-9.-]+\.(?:{_ENDINGS})\b",
        rf"(?<![\w@/.:-])((?:[a-z0-9-]{{1,40}}\.){{1,5}}(?:{_ENDINGS})(?![\w@-]|\.\w)(?:[:/?#]{_GOES_ON}|[:/?#])?)",
    ),
)
_PATTERNS = tuple([(kind, re2.compile(begins), re.compile(whole, re.IGNORECASE)) for kind, begins, whole in _KINDS])
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_AUTHORITY = re.compile(r"[^/?#]*")
_UNSEEN = re.compile("[\x00-\x20\x7f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")
_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*")
_HINT = re.compile(r"[./\\:=\]#]")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    allow: Annotated[tuple[str, ...], Meta(description="The domains that may be linked to, with their subdomains.")] = ()
    relative: Annotated[bool, Meta(description="Whether links without a host are allowed.")] = True
    action: Annotated[
        Literal["redact", "retry", "refuse"], Meta(description="What to do where another is linked to; an input is refused.")
    ] = "redact"


class Found(NamedTuple):
    """A link that is not allowed: its place, what takes its place, and the host or scheme at fault."""

    start: int
    end: int
    instead: str
    where: str


class Links:
    """The guard. `hold` is as long as an address may be before it has said its host."""

    options = Options

    def __init__(self, *, allow: tuple[str, ...] | list[str] = (), relative: bool = True, action: str = "redact") -> None:
        self._allow = frozenset([_host(domain.removeprefix("*.")) for domain in allow])
        if "" in self._allow:
            raise ValueError("a domain is a name such as example.com, without https:// and path")
        self._relative, self._action = relative, action
        self.hold = HOLD

    async def check(self, draft: Draft) -> Verdict:
        """Look for links in an input, or in what of a draft could not be looked at before."""
        if draft.stage == "input":
            for text in texts_of(draft.call):
                for found in self._find(text):
                    return refuse(Reason.UNSAFE_INPUT, f"the input links to {found.where}")
            return ALLOW
        for call in draft.tool_calls:
            for text in texts_in(read_arguments(call.arguments)):
                for found in self._find(text):
                    return refuse(Reason.UNSAFE_OUTPUT, f"the arguments of {call.name} link to {found.where}")
        if draft.data is not None:
            return self._judge_data(draft.data)
        start = calm(draft.text, draft.shown - HOLD - BEFORE)
        view = draft.text[start:] if start else draft.text
        found_here = [f for f in self._find(view, complete=draft.complete) if start + f.end > draft.shown]
        if not found_here:
            return ALLOW
        if self._action != "redact" or start + found_here[0].start < draft.shown:
            return self._stop(found_here[0])
        return replace(text=draft.text[:start] + _without(view, found_here), detail=_told(found_here))

    def _judge_data(self, data: Any) -> Verdict:
        found = [f for text in texts_in(data) for f in self._find(text)]
        if not found:
            return ALLOW
        if self._action != "redact":
            return self._stop(found[0])
        return replace(data=through(data, lambda text: _without(text, list(self._find(text)))), detail=_told(found))

    def _stop(self, found: Found) -> Verdict:
        what = f"the answer may not link to {found.where}"
        return retry(Reason.UNSAFE_OUTPUT, what) if self._action == "retry" else refuse(Reason.UNSAFE_OUTPUT, what)

    def _find(self, text: str, *, complete: bool = True) -> list[Found]:
        """The links that are not allowed, in order, without overlaps; of a growing text, what more text cannot make allowed."""
        if not _HINT.search(text):
            return []
        seen = readable(text)
        matches = [
            (match.start(1), i, match.end(1), kind)
            for i, (kind, begins, whole) in enumerate(_PATTERNS)
            for begun in begins.finditer(seen)
            if (match := whole.match(text, begun.start()))
        ]
        found: list[Found] = []
        at = 0
        for start, _, narrow, kind in sorted(matches):
            end = narrow
            if start < at or (kind != "rest" and text.startswith(NOWHERE, start)):
                continue
            if kind not in ("rest", "target") and "@" in (tail := "".join(_TAIL.findall(text, end)[:1])):
                end += len(tail)  # a user's name may hold what no host does
            at = end
            if kind == "rest":
                found.append(Found(start, end, LINK if text[start] == "[" else NOWHERE, "what was taken out"))
            elif where := self._fault(text[start:end], kind, open=not complete and len(text) - end < 2):
                found.append(Found(start, end, NOWHERE if kind == "target" else LINK, where))
        return found

    def _fault(self, address: str, kind: str, *, open: bool) -> str:
        """The host or scheme at fault; empty where there is none, or more text (`open`) may still decide it."""
        read = _UNSEEN.sub("", html.unescape(address)).replace("\\", "/")
        scheme = None if kind == "host" else _SCHEME.match(read)
        if scheme is not None:
            name = scheme[1].lower()
            if name not in ("http", "https"):
                return "" if name in ("mailto", "tel") else f"{name}:"
            rest = read[scheme.end() :].lstrip("/")
        elif kind == "host" or read.startswith("//"):
            rest = read.lstrip("/")
        elif open and len(read) < HOST:
            return ""  # which may still become a scheme
        else:
            return "" if self._relative or read.startswith("#") else "a page without a host"
        found = _AUTHORITY.match(rest)
        authority = found[0] if found else ""
        if open and authority == rest and len(authority) < HOST:
            return ""
        host = _host(authority)
        allowed = host and any(host == domain or host.endswith("." + domain) for domain in self._allow)
        return "" if allowed else host or "no host"


def _host(authority: str) -> str:
    """The host in an address as a browser reads it, in letters of its own script; empty where it is none, or too long."""
    if len(authority) > 4 * HOST:
        return ""
    name = unquote(authority.rpartition("@")[2]).translate(_DOTS)
    name = unicodedata.normalize("NFKC", re.sub(r":[0-9]*$", "", name)).casefold().removesuffix(".")
    if not _NAME.fullmatch(name):
        return ""
    return ".".join([_label(label) for label in name.split(".")])


def _label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode().decode("punycode")
    except UnicodeError:
        return label


def _without(text: str, found: list[Found]) -> str:
    for start, end, instead, _ in reversed(found):
        text = text[:start] + instead + text[end:]
    return text


def _told(found: list[Found]) -> str:
    return f"link(s) taken out: {', '.join(dict.fromkeys([f.where for f in found]))}"
