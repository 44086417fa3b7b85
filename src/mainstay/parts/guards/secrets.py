"""`secrets`: keys, tokens and passwords that must neither reach a model nor get out.

Options: `action`: `redact` (default: `[secret]` in its place, on input too), `retry`, or `refuse`; `keep`, values that are
none, such as those of your documentation. It knows the keys of some thirty services by their shape, JSON Web Tokens, private
keys, passwords in connection strings and in `Authorization`, and whatever of letters and digits stands behind a word such as
`password` or `api_key`. A private key, and a secret in a tool's arguments, stop the draft whatever `action` says.

Limits: a secret of no known shape, without a word before it, is not seen; nor is one that is broken over lines or spelled out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

import re2
from msgspec import Meta, Struct

from mainstay.core.call import Call
from mainstay.core.draft import ALLOW, Draft, Verdict, refuse, replace, retry
from mainstay.core.reasons import Reason
from mainstay.parts.texts import calm, changed, read_arguments, readable, texts_in, texts_of, through

SECRET = "[secret]"  # noqa: S105  what stands in the place of one
HOLD = 72  # characters after which every secret shows what it is
BEFORE = 48  # characters before one that may say what it is
_REST = r"(?:[.:~+/=!@#%&-]*[A-Za-z0-9_])"  # what a secret may go on with; the point behind it is the sentence's

# By their shape. Where a group is named in the second list, it alone is the secret.
_SHAPES = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",  # Amazon
    r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}|gl(?:pat|ptt|rt|dt)-[A-Za-z0-9_-]{20,}",  # GitHub, GitLab
    r"sk-[A-Za-z0-9_-]{20,}|xai-[A-Za-z0-9]{40,}|gsk_[A-Za-z0-9]{40,}|hf_[A-Za-z0-9]{30,}|r8_[A-Za-z0-9]{30,}",  # models
    r"AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}",  # Google
    r"xox[abeprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{20,}|hooks\.slack\.com/services/T[A-Za-z0-9_/]{20,}",  # Slack
    r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9]{24,}|sq0(?:atp|csp)-[A-Za-z0-9_-]{22,}",  # Stripe, Square
    r"SG\.[A-Za-z0-9_-]{16,}|key-[0-9a-f]{32}|(?:AC|SK)[0-9a-f]{32}",  # SendGrid, Mailgun, Twilio
    r"npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{40,}|dckr_pat_[A-Za-z0-9_-]{20,}|rubygems_[0-9a-f]{48}",  # registries
    r"do[opr]_v1_[0-9a-f]{40,}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|dapi[0-9a-f]{32}|lin_api_[A-Za-z0-9]{32,}",
    r"[0-9]{8,10}:AA[A-Za-z0-9_-]{32,}|EAA[A-Za-z0-9]{60,}|PMAK-[0-9a-f]{24,}|glsa_[A-Za-z0-9]{32}|sntrys_[A-Za-z0-9]{40,}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{40,}|hvs\.[A-Za-z0-9_-]{24,}|nvapi-[A-Za-z0-9_-]{40,}|sbp_[0-9a-f]{40}|AccountKey=[A-Za-z0-9+/]{40,}",
    r"eyJ(?:hbGci|0eXAi|raWQi|lbmMi|jdHki|qd2si|4NXQi)[A-Za-z0-9_-]{10,}",  # JSON Web Tokens, by what they begin with
)
_NAMED = (
    rf"\b[a-zA-Z][a-zA-Z0-9+.-]{{1,20}}://([^\s:@/\[\]]*:[^\s@/\[\]]{{3,64}}@{_REST}*)",  # in an address
    rf"(?i)\bauthorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|token)\s+({_REST}{{16,}})",
    r"(?i)(?:pass(?:word|wd|phrase)|\bpwd|secret|api[ _-]?key|access[ _-]?key|(?:auth|access|api|bearer)[ _-]?token|passwort"
    r"|kennwort|mot de passe|contraseña|clave(?: de acceso)?|senha|wachtwoord|hasło|пароль|密码|密碼|パスワード)"
    r"[\"'`*]{0,3}\s{0,2}(?:[:=：]|\b(?:is|ist|lautet|est|es|é|è)\b|是|は)\s{0,2}[\"'`*]{0,3}(" + _REST + "{8,})",
)
_PRIVATE = "PRIVATE KEY"
_BEGIN = re2.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY")
_SHAPED = re2.compile(rf"\b(?:{'|'.join(_SHAPES)}){_REST}*")
_BEHIND = tuple([re2.compile(pattern) for pattern in _NAMED])
_GOES_ON = re2.compile(rf"\[secret\]{_REST}+")  # what was written of one after its beginning was taken out
_HINT = re2.compile(r"[0-9]")
_NONE = (
    *("<", "$", "{", "%", "*", "env:", "env.", "your", "my-", "my_", "xxx", "os.", "process.", "...", "example", "changeme"),
    "akiaiosf",  # of Amazon's own documentation
)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    action: Annotated[
        Literal["redact", "retry", "refuse"], Meta(description="What to do where there is one; an input is redacted or refused.")
    ] = "redact"
    keep: Annotated[tuple[str, ...], Meta(description="Values that are no secrets.")] = ()


class Span(NamedTuple):
    """Where a secret stands."""

    start: int
    end: int


class Secrets:
    """The guard. `hold` is as long as the longest beginning by which a secret is known; what follows is taken as it comes."""

    options = Options
    hides = True

    def __init__(self, *, action: str = "redact", keep: tuple[str, ...] | list[str] = ()) -> None:
        self._action, self._keep = action, frozenset(keep)
        self.hold = HOLD

    async def check(self, draft: Draft) -> Verdict:
        """Look for secrets in an input, or in what of a draft could not be looked at before."""
        if draft.stage == "input":
            return self._judge_input(draft.call)
        for call in draft.tool_calls:
            if any(self._find(text) for text in texts_in(read_arguments(call.arguments))):
                return refuse(Reason.UNSAFE_OUTPUT, f"a secret in the arguments of {call.name}")
        if draft.data is not None:
            data = through(draft.data, self._redacted)
            if data == draft.data:
                return ALLOW
            return replace(data=data, detail="secret(s) taken out") if self._action == "redact" else self._stop()
        start = calm(draft.text, draft.shown - BEFORE - HOLD)
        view = readable(draft.text[start:] if start else draft.text)
        if _PRIVATE in view and _BEGIN.search(view):
            return refuse(Reason.UNSAFE_OUTPUT, "a private key")
        found = [Span(start + a, start + b) for a, b in self._find(view) if start + b > draft.shown]
        if not found:
            return ALLOW
        if self._action != "redact" or found[0].start < draft.shown:
            return self._stop()
        return replace(text=_without(draft.text, found), detail=f"{len(found)} secret(s) taken out")

    def _stop(self) -> Verdict:
        what = "the answer holds a secret, which must not appear"
        return retry(Reason.UNSAFE_OUTPUT, what) if self._action == "retry" else refuse(Reason.UNSAFE_OUTPUT, what)

    def _judge_input(self, call: Call) -> Verdict:
        texts = [readable(text) for text in texts_of(call)]
        keys = sum([_BEGIN.search(text) is not None for text in texts])
        found = keys + sum([len(self._find(text)) for text in texts])
        if not found:
            return ALLOW
        if keys or self._action != "redact":
            return refuse(Reason.UNSAFE_INPUT, f"the input holds {found} secret(s); send it without")
        return changed(call, self._redacted, f"{found} secret(s) taken out of the input")

    def _redacted(self, text: str) -> str:
        return _without(text, self._find(text))

    def _find(self, text: str) -> list[Span]:
        """Where secrets stand, in order, without overlaps."""
        seen = readable(text)
        if not _HINT.search(seen) and SECRET not in seen:
            return []
        found: list[Span] = []
        for span in sorted(self._candidates(seen)):
            if seen[span.start : span.end] in self._keep:
                continue
            if found and span.start < found[-1].end:
                found[-1] = Span(found[-1].start, max(span.end, found[-1].end))
            else:
                found.append(span)
        return found

    def _candidates(self, text: str) -> Iterator[Span]:
        for match in _SHAPED.finditer(text):
            if not _is_none(match[0]):
                yield Span(*match.span())
        for pattern in _BEHIND:
            for match in pattern.finditer(text):
                if _telling(match[1]):
                    yield Span(*match.span(1))
        if SECRET in text:
            for match in _GOES_ON.finditer(text):
                yield Span(*match.span())


def _telling(value: str) -> bool:
    """Whether what stands behind such a word may be a secret: letters and digits, six of them different. More text makes it
    no less so."""
    return len(set(value)) >= 6 and not value.isalpha() and any(c.isdigit() for c in value) and not _is_none(value)


def _is_none(value: str) -> bool:
    return value.lower().startswith(_NONE)


def _without(text: str, found: list[Span]) -> str:
    for start, end in reversed(found):
        text = text[:start] + SECRET + text[end:]
    return text
