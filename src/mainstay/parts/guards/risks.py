"""`risks`: categories of risk that a team names, such as medical advice or self-harm, on what comes in and on what goes out.

Options: `categories`, those that are looked for, by default all; `file`, a file of your own beside feature.toml that is laid over
the shipped taxonomy (`risks.toml`, beside this module), key by key; `classifier`, one of mainstay.toml, whose labels are
categories, and `at_least`, its probability from which on a category counts. What happens is in the taxonomy, for input and output
apart: `refuse` (`unsafe_input`, `unsafe_output`), `only_curated` (from then on only what matches curated content passes), `note`
(it stands in the record) or `pass`. A refusal on input tells the user the category's `next` step.

Patterns are tried in every language at once, on text without case, accents and odd quotes; what an exception (`unless`) matches
is taken out before. On input the call's own texts are looked at, of messages the last one of the user; on output every text that
a model wrote, also in data. It holds sentences of a stream, and everything where a classifier is asked on output.

Limits: patterns know wordings, not meanings. They find requests that are put plainly in the languages of the taxonomy, and miss
those that are paraphrased, misspelt, hidden, or spread over several turns; docs/refusals.md has the figures. A match may be as
long as `LOOK_BACK` characters. Words and their edges (`\\w`, `\\b`) are those of ASCII, after accents are taken off.
"""

from __future__ import annotations

import functools
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Annotated, Any, Literal

import msgspec
import re2
from msgspec import Meta, Struct

from mainstay.core.call import Call
from mainstay.core.draft import ALLOW, Draft, Verdict, note, refuse
from mainstay.core.reasons import Reason
from mainstay.core.seams import Hold, TextClassifier
from mainstay.core.texts import texts_in

Action = Literal["refuse", "only_curated", "note", "pass"]
SEVERITY: tuple[Action, ...] = ("pass", "note", "only_curated", "refuse")
LOOK_BACK = 300  # characters before what is new that are looked at again: what begins there may end here
_QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"'})
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_BLANKS = re.compile(r"[^\S\n]+")
_STOPS = re.compile(r"[.!?…؟۔।॥։።။。！？｡\n]")  # no sentence ends without one of these
_WORD = re.compile(r"\{([a-z_]+)\}")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    categories: Annotated[tuple[str, ...], Meta(description="The categories that are looked for; by default all.")] = ()
    file: Annotated[str | None, Meta(description="A file beside feature.toml that is laid over the shipped taxonomy.")] = None
    classifier: Annotated[str | None, Meta(description="A classifier of mainstay.toml whose labels are categories.")] = None
    at_least: Annotated[float, Meta(ge=0, le=1, description="The probability from which on its label counts.")] = 0.5


class Category(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One category of the taxonomy; `labels` are the classifier's names for it, beside its own."""

    what: str
    input: Action
    output: Action
    patterns: dict[str, list[str]] = {}
    unless: dict[str, list[str]] = {}
    next: str | dict[str, str] = ""
    labels: tuple[str, ...] = ()


class Taxonomy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file: categories, and the words that stand in their patterns as `{name}`, by language."""

    category: dict[str, Category]
    words: dict[str, dict[str, str]] = {}


class Risks:
    """The guard. Raises `ValueError` with a sentence where the taxonomy is not one."""

    options = Options
    experimental = True  # docs/cards/risks.md says why

    def __init__(
        self,
        *,
        categories: tuple[str, ...] | list[str] = (),
        file: bytes | None = None,
        classifier: TextClassifier | None = None,
        at_least: float = 0.5,
    ) -> None:
        taxonomy = _taxonomy(file)
        unknown = [name for name in categories if name not in taxonomy.category]
        if unknown:
            raise ValueError(f"there is no category {unknown[0]!r}; there are {', '.join(taxonomy.category)}")
        chosen = {name: taxonomy.category[name] for name in categories or taxonomy.category}
        self._risks = [_Risk(name, category, taxonomy.words) for name, category in chosen.items()]
        self._patterns = _Patterns({risk.name: risk.patterns for risk in self._risks})
        self._classifier, self._at_least = classifier, at_least
        self.hold = Hold.WHOLE if classifier is not None else Hold.SENTENCE

    async def check(self, draft: Draft) -> Verdict:
        """Look for the categories in what comes in, or in what was written since the last look."""
        if draft.stage == "output" and draft.author != "model":
            return ALLOW
        texts = list(_said(draft.call) if draft.stage == "input" else _written(draft))
        plain = [folded(text) for text in texts]
        seen = {name for text in plain for name in self._seen(text)}
        found = [risk for risk in self._risks if risk.name in seen and risk.action(draft.stage) != "pass"]
        if self._classifier is not None and draft.complete:
            found += [risk for risk in await self._classified(texts, draft.stage) if risk not in found]
        return self._verdict(found, draft.stage) if found else ALLOW

    def _seen(self, text: str) -> set[str]:
        """The categories that a pattern finds in the folded text, once the exceptions are taken out of it."""
        seen = self._patterns.found(text)
        return {risk.name for risk in self._risks if risk.name in seen and risk.name in self._still(risk, text)} if seen else seen

    def _still(self, risk: _Risk, text: str) -> set[str]:
        plain = risk.without_exceptions(text)
        return {risk.name} if plain is text else self._patterns.found(plain)

    async def _classified(self, texts: list[str], stage: str) -> list[_Risk]:
        """What the classifier sees in any of the texts."""
        assert self._classifier is not None  # noqa: S101
        told = await self._classifier.classify(texts) if texts else []
        seen = {label for one in told for label, chance in one.items() if chance >= self._at_least}
        return [risk for risk in self._risks if seen & risk.labels and risk.action(stage) != "pass"]

    def _verdict(self, found: list[_Risk], stage: str) -> Verdict:
        worst = max(found, key=lambda risk: SEVERITY.index(risk.action(stage)))
        action, said = worst.action(stage), f"it is about {', '.join(risk.name for risk in found)}"
        if action == "refuse":
            reason = Reason.UNSAFE_INPUT if stage == "input" else Reason.UNSAFE_OUTPUT
            return refuse(reason, said, next=worst.category.next)
        if action == "only_curated":
            return msgspec.structs.replace(
                note(f"{said}: only curated content may answer", stakes="high"), next=worst.category.next
            )
        return note(said)


class _Risk:
    """A category made ready."""

    def __init__(self, name: str, category: Category, words: Mapping[str, Mapping[str, str]]) -> None:
        self.name, self.category = name, category
        self.labels = frozenset({name, *category.labels})
        self.patterns = [pattern for some in _written_out(name, category.patterns, words) for pattern in some]
        self._unless = [re2.compile("|".join(some), _options()) for some in _written_out(name, category.unless, words) if some]

    def action(self, stage: str) -> Action:
        return self.category.input if stage == "input" else self.category.output

    def without_exceptions(self, text: str) -> str:
        """The folded text without what an exception matches; the same object where there are none."""
        for pattern in self._unless:
            text = pattern.sub(" _ ", text)
        return text


class _Patterns:
    """All patterns of all categories, tried in one pass: only those are run whose words stand in the text."""

    def __init__(self, patterns: Mapping[str, list[str]]) -> None:
        self._names = [name for name, some in patterns.items() for _ in some]
        self._filter = re2.Filter()
        for some in patterns.values():
            for pattern in some:
                self._filter.Add(pattern, _options())
        if self._names:
            self._filter.Compile()

    def found(self, text: str) -> set[str]:
        """The categories that a pattern finds in the folded text."""
        return {self._names[number] for number in self._filter.Match(text) or ()} if self._names else set()


def _said(call: Call) -> Iterator[str]:
    """What is asked now: the input, or the last message of the user; what was said before was looked at then."""
    if call.request is None:
        yield from (text for path, text in call.texts() if not path.startswith("history"))
        return
    yield next((message.text for message in reversed(call.request.messages) if message.role == "user"), "")


def _written(draft: Draft) -> Iterator[str]:
    """What of a draft is to be looked at: as far as its sentences have ended, or all of it."""
    if draft.data is not None:
        yield from texts_in(draft.data)
    for call in draft.tool_calls:
        yield call.arguments
    end = len(draft.text)
    if not draft.complete:
        stops = [match.end() for match in _STOPS.finditer(draft.text, draft.shown)]
        end = stops[-1] if stops else 0
    start = max(0, draft.shown - LOOK_BACK)
    if end > draft.shown or draft.complete:
        yield draft.text[start:end]


def folded(text: str) -> str:
    """The text as patterns see it: lower case, no accents, nothing unseen, straight quotes, single blanks."""
    if text.isascii():
        return _BLANKS.sub(" ", text.lower().replace("`", "'"))
    whole = text.encode("utf-8", "replace").decode()  # halves of characters are none
    plain = _unaccented(_UNSEEN.sub("", whole.translate(_QUOTES)).casefold())
    return _BLANKS.sub(" ", plain)


def _unaccented(text: str) -> str:
    return "".join([char for char in unicodedata.normalize("NFKD", text) if unicodedata.category(char) != "Mn"])


# The taxonomy


@functools.cache
def _shipped() -> dict[str, Any]:
    return tomllib.loads((resources.files("mainstay.parts.guards") / "risks.toml").read_text(encoding="utf-8"))


def _taxonomy(file: bytes | None) -> Taxonomy:
    """The shipped one, with the project's laid over it."""
    own: dict[str, Any] = {}
    if file is not None:
        try:
            own = tomllib.loads(file.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"the file of risks is not TOML: {error}") from None
    try:
        return msgspec.convert(_laid_over(_shipped(), own), Taxonomy)
    except msgspec.ValidationError as error:
        raise ValueError(f"the file of risks: {error}") from None


def _laid_over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: _laid_over(below[key], value) if key in below else value for key, value in above.items()}}


def _written_out(name: str, patterns: Mapping[str, list[str]], words: Mapping[str, Mapping[str, str]]) -> Iterator[list[str]]:
    """The patterns of each language, with the words that stand in them as names."""
    for language, some in patterns.items():

        def word(match: re.Match[str], language: str = language) -> str:
            known = words.get(match[1], {}).get(language)
            if known is None:
                raise ValueError(f"category {name}: there are no words {match[0]} in the language {language}")
            return f"(?:{known})"

        whole = [f"(?:{_unaccented(_WORD.sub(word, pattern))})" for pattern in some]
        for pattern, given in zip(whole, some, strict=True):
            try:
                re2.compile(pattern, _options())
            except re2.error as error:
                raise ValueError(f"category {name}: the pattern {given!r} is not one: {error}") from None
        yield whole


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    options.max_mem = 64 << 20
    return options
