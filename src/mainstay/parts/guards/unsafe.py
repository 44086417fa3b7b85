"""`unsafe`: content that should be neither asked for nor shown: hate, harassment, violence, sexual content, self-harm, danger.

On input it refuses with `unsafe_input`, on output with `unsafe_output`; of a stream it holds one sentence. Options: `categories`,
those that count (all but `dangerous`); `at_least`, the probability from which on each counts; `classifier`, one of
mainstay.toml that decides where the fast ones are unsure, and its `label`. `dangerous` (a request for something harmful) is
looked for in inputs alone, finds about a third, and counts only where it is named.

`hate` and `dangerous` are small classifiers (docs/cards/unsafe.md), the others reviewed patterns in a few languages that nobody
has measured on many texts. Limits: it is experimental, mostly English, reads sentence by sentence, and knows neither irony nor
who is speaking.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct

from mainstay.core.draft import ALLOW, Draft, Verdict, refuse
from mainstay.core.reasons import Reason
from mainstay.core.seams import Hold, TextClassifier
from mainstay.parts import hostility
from mainstay.parts.second import SecondOpinion
from mainstay.parts.textmodel import Marks, TextModel, folded, models, tokens

Category = Literal["hate", "harassment", "violence", "sexual", "self_harm", "dangerous"]
BY_DEFAULT: tuple[Category, ...] = ("hate", "harassment", "violence", "sexual", "self_harm")
BY_PATTERN = 0.9  # the probability of what a pattern finds
UNSURE = (0.5, 1.9)  # how far from its threshold, as a share of it, a category is when a classifier is asked
LONGEST = 600  # characters of a sentence that are judged together
REMEMBERED = 2_048
_ENDS = re.compile(r"[.!?。！？\n]")  # the ends of sentences at which a stream lets go
_SOME = r"(?: \w+){0,3}? "
_PERSON = (
    r"(?:you|him|her|them|these|those|that|every|all|people|someone|everyone|my (?:wife|husband|boss|ex|neighbou?r|\w+friend))\b"
)

# In folded text; reviewed, language by language.
PATTERNS: dict[str, tuple[str, ...]] = {
    "harassment": (
        r"\byou(?:'re| are)?(?: (?:all|just|such|so|really|nothing but|a|an|the|fucking|bunch of)){0,3} "
        r"(?:idiots?|morons?|stupid|dumb|pathetic|"
        r"worthless|disgusting|scum|trash|garbage|losers?|ugly|bitch|cunt|whore|retards?|pigs?|filth)\b",
        r"\b(?:shut the fuck up|fuck (?:you|off)|go to hell|kill yourself|kys|nobody likes you|you should (?:die|be dead))\b",
        r"\bdu (?:bist )?(?:\w+ ){0,2}(?:idiot|arschloch|abschaum|schlampe|hurensohn|missgeburt)\b|\bhalt (?:die "
        r"fresse|dein maul)\b",
        r"\b(?:ta gueule|nique ta|va te faire|espece d[e']|connard|connasse)\b|\b(?:hijo de puta|eres (?:un|una) "
        r"(?:idiota|mierda)|gilipollas)\b",
    ),
    "violence": (
        rf"\b(?:i|we)(?:'ll| will|'m going to| am going to| want to|'re going to)(?: \w+){{0,2}}? (?:kill|murder|stab|"
        rf"shoot|beat|rape|burn|hurt|"
        rf"strangle|torture|slaughter|bomb|behead|hang|drown)\b(?: \w+){{0,2}}? {_PERSON}",
        r"\bich (?:werde|will) (?:dich|euch|ihn|sie|ihm|alle)(?: \w+){0,3} (?:toten|umbringen|abstechen|erschiessen|"
        r"verprugeln)\b|\bich (?:bringe|steche) (?:dich|ihn|sie) (?:um|ab)\b",
        r"\bje vais (?:te|le|la|les|vous) (?:tuer|egorger|frapper|violer)\b|\b(?:te|lo|la|los|las) voy a (?:matar|"
        r"violar|golpear|apunalar)\b",
    ),
    "sexual": (
        r"\b(?:porn\w*|blow ?jobs?|hand ?jobs?|cum ?shots?|gang ?bangs?|deep ?throat|masturbat\w+|erotica?|nudes|dick "
        r"pics?|hentai|milf)\b",
        r"\bsuck (?:my|his) (?:dick|cock)\b|\b(?:sexually explicit|explicit sex\w*|sex scene)\b|\bfuck me\b",
        r"\b(?:pornos?|wichs\w+|fick mich|nacktbilder)\b|\b(?:photos? nues?|fotos? desnud[oa]s?)\b",
    ),
    "self_harm": (
        r"\b(?:kill|hang|hurt|cut|harm|starve|poison|drown|shoot) myself\b|\bend(?:ing)? (?:my (?:own )?life|it all)\b",
        r"\b(?:i want to die|don't want to (?:live|be alive)|better off dead|suicide (?:methods?|notes?|plan)|suicidal)\b",
        r"\b(?:commit(?:ting)? suicide|take my own life|self[- ]?harm)\b",
        r"\b(?:mich umbringen|mir das leben nehmen|will nicht mehr leben|suizid\w*|selbstmord)\b",
        r"\b(?:me suicider|me tuer|envie de mourir|me donner la mort)\b|\b(?:suicidarme|quitarme la vida|matarme|quiero morir)\b",
    ),
}
_FOUND = Marks({category: "|".join(found) for category, found in PATTERNS.items()})


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    categories: Annotated[
        tuple[Category, ...], Meta(min_length=1, description="The categories that count; `dangerous` only where it is named.")
    ] = BY_DEFAULT
    at_least: Annotated[
        dict[Category, Annotated[float, Meta(gt=0, le=1)]],
        Meta(description="The probability from which on a category counts; by default the measured one."),
    ] = {}
    classifier: Annotated[
        str | None, Meta(description="The name of a classifier in mainstay.toml, asked where the fast ones are unsure.")
    ] = None
    label: Annotated[str, Meta(description="The classifier's label for unsafe content.")] = "unsafe"


class Unsafe:
    """The guard."""

    options = Options
    hold = Hold.SENTENCE
    experimental = True

    def __init__(
        self,
        *,
        categories: tuple[Category, ...] = BY_DEFAULT,
        at_least: dict[Category, float] | None = None,
        classifier: TextClassifier | None = None,
        label: str = "unsafe",
        hate: TextModel | None = None,
        dangerous: TextModel | None = None,
    ) -> None:
        self._hate, self._dangerous = hate or models("unsafe")["hate"], dangerous or models("unsafe")["dangerous"]
        measured = {"hate": self._hate.threshold, "dangerous": self._dangerous.threshold}
        self.at_least: dict[str, float] = {c: (at_least or {}).get(c, measured.get(c, BY_PATTERN)) for c in categories}
        self._second = SecondOpinion(classifier, label)
        self._remembered = functools.lru_cache(REMEMBERED)(self.of_sentence)

    async def check(self, draft: Draft) -> Verdict:
        """Look at each sentence, with the one before it, that was not shown yet."""
        if draft.stage == "input":
            return await self._check_input(draft)
        noted = ALLOW
        for window in windows(draft.text, shown=draft.shown, complete=draft.complete):
            verdict = await self._judged(window, self._remembered(window), Reason.UNSAFE_OUTPUT, "the answer")
            if verdict.action != "allow":
                return verdict
            noted = noted if verdict is ALLOW else verdict
        return noted

    async def _check_input(self, draft: Draft) -> Verdict:
        noted = ALLOW
        for path, text in draft.call.texts():
            for window in windows(text):
                found = self._remembered(window)
                if "dangerous" in self.at_least:
                    found = {**found, "dangerous": self.danger(window)}
                verdict = await self._judged(window, found, Reason.UNSAFE_INPUT, path)
                if verdict.action != "allow":
                    return verdict
                noted = noted if verdict is ALLOW else verdict
        return noted

    async def _judged(self, window: str, found: dict[str, float], reason: Reason, place: str) -> Verdict:
        """By how far the likeliest category passes its threshold: 1 is just there."""
        category, far = max(((c, found.get(c, 0.0) / least) for c, least in self.at_least.items()), key=lambda pair: pair[1])
        yes, note = await self._second.of(window, unsure=UNSURE[0] <= far <= UNSURE[1])
        if yes or (yes is None and far >= 1):
            what = f"{place} holds what looks like {category.replace('_', '-')}"
            return refuse(reason, f"{what}; {note}" if note else what)
        return Verdict(action="allow", detail=note) if note else ALLOW

    def of_sentence(self, window: str) -> dict[str, float]:
        """How probable each category but `dangerous` is for a sentence and the one before it."""
        plain = folded(window)
        found = dict.fromkeys(_FOUND.of(plain), BY_PATTERN)
        found["hate"] = self._hate.probability(*hate_reading(plain))
        return found

    def danger(self, window: str) -> float:
        """How probable it is that something harmful is asked for."""
        return self._dangerous.probability(*danger_reading(folded(window)))


def windows(text: str, *, shown: int = 0, complete: bool = True) -> Iterator[str]:
    """Each sentence that ends after `shown`, with the one before it; where more is coming, only those that have ended."""
    start = text.rfind("\n", 0, max(0, shown - LONGEST)) + 1 if shown > LONGEST else 0
    before = last = start
    for end in [*[m.end() for m in _ENDS.finditer(text, start)], *([len(text)] if complete else [])]:
        if any(c.isalnum() for c in text[last:end]):
            if end > shown:
                yield text[max(before, end - LONGEST) : end]
            before, last = last, end
        elif end > last and not text[last:end].strip():
            last = end


def hate_reading(plain: str) -> tuple[list[str], list[str]]:
    """The tokens and marks of a folded text for `hate`."""
    return hostility.classes(plain), hostility.marks(plain)


def danger_reading(plain: str) -> tuple[list[str], list[str]]:
    """The tokens and marks of a folded text for `dangerous`."""
    words = tokens(plain)
    kinds = [hostility.class_of(word) for word in words]
    marks = [f"has {kind}" for kind in dict.fromkeys(kinds) if kind]
    marks += [f"{kind} {words[i + 1]}" for i, kind in enumerate(kinds[:-1]) if kind == "V"]
    return words, marks
