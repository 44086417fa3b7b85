"""`refusal_detector`: the model itself declined, in its own words, and the next try or rung may do better.

Options: `action`: `retry` (default: the same model is asked again with a remark, then the next rung) or `refuse` (the next rung
at once); `at_least`, the probability from which on a text counts as a refusal. The reason is `model_refused` either way. Only
drafts that a model wrote are looked at: a fixed message may well say that it cannot answer. It looks at the opening, sentence by
sentence, and holds one sentence of a stream.

In English a small classifier decides (docs/cards/refusals.md); in other languages reviewed phrases at the beginning do, and they
know no more than is written here. Limits: a refusal that comes after the opening is not seen, nor one in structured data.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from mainstay.core.draft import ALLOW, Draft, Verdict, refuse, retry
from mainstay.core.reasons import Reason
from mainstay.core.seams import Hold
from mainstay.parts.textmodel import TextModel, folded, models, tokens

OPENING = 300  # characters that are looked at
BEGINNING = 160  # characters in which a phrase of another language counts
REMARK = "The answer declined to answer. If the request is harmless, answer it from what is given, without apology."
_ENDS = re.compile(r"[.!?。！？\n]")  # the ends of sentences at which a stream lets go

# How a model says that it will not, in folded text (lower case, no accents). Reviewed; one line a way of saying it.
PHRASES = {
    "en": (
        r"\bi (?:can't|cannot|can not|won't|will not|must decline|am unable|am not able|refuse|do not feel|don't "
        r"feel)\b(?! (?:stress|wait))",
        r"\bi'?m (?:unable|not able|not comfortable|afraid i)\b",
        r"\b(?:unable|not able|against my) (?:to|programming|guidelines)\b",
    ),
    "de": (
        r"\b(?:ich|wir) (?:kann|konnen|darf|durfen|mochte|werde) (?:\w+ ){0,6}?(?:nicht|keine[nrm]?)\b",
        r"\bkann ich (?:\w+ ){0,5}?(?:nicht|keine)\b",
        r"\b(?:dabei|damit|das) (?:kann|darf) ich (?:\w+ ){0,4}?nicht\b",
        r"\b(?:ich|wir) (?:bin|sind) nicht in der lage\b",
        r"\bich muss (?:\w+ ){0,4}?ablehnen\b",
    ),
    "fr": (
        r"\bje (?:ne|n') ?(?:peux|puis|suis|dois|veux|saurais) (?:\w+ ){0,3}?pas\b",
        r"\bje (?:ne suis pas en mesure|refuse|dois refuser|dois decliner)\b",
    ),
    "es": (
        r"\bno (?:puedo|podemos|podre|debo|me es posible) (?:\w+ ){0,3}?(?:ayud|proporcion|ofrec|respond|cumpl|facilit|hac|dar)",
        r"\b(?:me niego|debo rechazar|no estoy en condiciones)\b",
    ),
    "it": (r"\bnon (?:posso|possiamo|sono in grado|mi e possibile)\b", r"\bdevo rifiutare\b"),
    "pt": (
        r"\bnao (?:posso|podemos|consigo|me e possivel) (?:\w+ ){0,3}?(?:ajud|fornec|oferec|respond|cumpr|fazer|dar)",
        r"\btenho de recusar\b",
    ),
    "nl": (r"\bik (?:kan|mag|wil|ga) (?:\w+ ){0,5}?(?:niet|geen)\b", r"\bkan ik (?:\w+ ){0,5}?(?:niet|geen)\b"),
    "pl": (r"\bnie (?:moge|jestem w stanie|bede mogl)", r"\bmusze odmowic\b"),
    "tr": (r"\byardimci olama", r"\b(?:bunu|bu istegi|buna) (?:\w+ ){0,3}?(?:yapamam|yapamiyorum|yerine getiremem)"),
    "ru": (r"\bя (?:не могу|не смогу|не буду|вынужден\w* отказать)", r"\bне могу (?:помочь|ответить|предоставить|выполнить)"),
    "uk": (r"\bя не (?:можу|зможу|буду)\b",),
    "zh": (
        r"(?:我|我们)?(?:无法|不能|不会|不可以)(?:为您|为你|向您|向你)?(?:提供|回答|协助|帮助|满足|完成)",
        r"抱歉.{0,6}(?:无法|不能)",
    ),
    "ja": (
        r"(?:お答え|回答|お手伝い|提供|ご案内|対応|お応え)(?:することは|は|が)?(?:でき(?:ません|かねます|ない)|いたしかねます)",
    ),
    "ko": (r"(?:도와드릴|답변(?:해 ?드릴|할)|제공(?:해 ?드릴|할)|알려 ?드릴) 수 (?:없|가 없)",),
    "ar": (r"(?:لا (?:استطيع|أستطيع|يمكنني|اقدر|أقدر)|لن أ)",),
    "hi": (r"(?:मदद|सहायता|उत्तर|जवाब) नही(?:ं)? (?:कर|दे) सक", r"मैं .{0,40}असमर्थ"),
}
_ENGLISH = re.compile("|".join(PHRASES["en"]))
_OTHERS = {language: re.compile("|".join(found)) for language, found in PHRASES.items() if language != "en"}
_MARKS = (
    (
        "sorry",
        re.compile(
            r"\A\W*(?:i'?m|i am|we are|we're)? ?(?:so |very |really |deeply )?(?:sorry|afraid)\b|\A\W*(?:i |we )?apologi[sz]e"
        ),
    ),
    ("an ai", re.compile(r"\b(?:as an?|i am an?|i'm (?:just )?an?) (?:ai|artificial|language model|assistant|responsible)\b")),
    ("wrong to", re.compile(r"\bit(?:'s| is) (?:not|never|un|highly un|illegal|inappropriate|wrong|important)\b")),
    ("but", re.compile(r"\b(?:however|instead|but)\b")),
)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    action: Annotated[
        Literal["retry", "refuse"],
        Meta(description="`retry` asks the same model again first; `refuse` gives way to the next rung."),
    ] = "retry"
    at_least: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="The probability from which on a text counts as a refusal; by default the measured one."),
    ] = None


class RefusalDetector:
    """The guard."""

    options = Options
    hold = Hold.SENTENCE

    def __init__(self, *, action: str = "retry", at_least: float | None = None, model: TextModel | None = None) -> None:
        self._model = model or models("refusals")["refused"]
        self.at_least = self._model.threshold if at_least is None else at_least
        self._action = action

    async def check(self, draft: Draft) -> Verdict:
        """Look at the opening of what a model wrote, up to the end of each sentence in it that was not shown yet."""
        if draft.stage != "output" or draft.author != "model" or draft.data is not None or draft.shown >= OPENING:
            return ALLOW
        probability = self.probability(draft.text, shown=draft.shown, complete=draft.complete)
        if probability < self.at_least:
            return ALLOW
        if self._action == "retry":
            return retry(Reason.MODEL_REFUSED, REMARK)
        return refuse(Reason.MODEL_REFUSED, f"the model declined (probability {probability:.2f})")

    def probability(self, text: str, *, shown: int = 0, complete: bool = True) -> float:
        """The highest probability of a refusal over the beginnings of the opening that end a sentence."""
        ends = [m.end() for m in _ENDS.finditer(text, 0, OPENING)]
        if len(text) >= OPENING or complete:
            ends.append(min(len(text), OPENING))
        most = 0.0
        for end in dict.fromkeys(ends):
            if end > shown and text[:end].strip():
                most = max(most, self._of(text[:end]))
                if most >= self.at_least:
                    break
        return most

    def _of(self, opening: str) -> float:
        words, marks = reading(opening)
        if any(mark.startswith("says no in ") for mark in marks):
            return 1.0
        return self._model.probability(words, marks)


def reading(opening: str) -> tuple[list[str], list[str]]:
    """The tokens and marks of an opening."""
    plain = folded(opening).strip()
    marks = [name for name, pattern in _MARKS if pattern.search(plain)]
    if said := _ENGLISH.search(plain):
        marks.append("says no at once" if said.start() < 40 else "says no")
    else:
        beginning = plain[:BEGINNING]
        marks += [f"says no in {language}" for language, pattern in _OTHERS.items() if pattern.search(beginning)]
    return tokens(plain), marks
