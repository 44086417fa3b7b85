"""In which language somebody wrote: a cheap guess, for the sentence that a refusal says.

A script of its own decides; within the Latin and the Cyrillic one it is small words and letters that few languages have. It
answers for the languages that refusals speak, and says nothing where two of them are as likely: a wrong language is worse than
the feature's own.

Limits: a few words are often too few, and a language that it does not know may be taken for one that it knows.
"""

from __future__ import annotations

import re

from mainstay.core.later import pattern

LONGEST = 400  # characters that are looked at
_WORD = pattern(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_KANA = pattern("[\u3040-\u30ff]")
_SCRIPTS = (
    ("ko", pattern("[\u1100-\u11ff\uac00-\ud7a3]")),
    ("zh", pattern("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")),
    ("he", pattern("[\u0590-\u05ff]")),
    ("ar", pattern("[\u0600-\u06ff]")),
    ("hi", pattern("[\u0900-\u097f]")),
)
_ELSEWHERE = pattern("[پچژگٹڈڑےں]")  # Persian and Urdu, which are written like Arabic
_WORDS = {
    "en": "the is are and of to what how do does can you my i in for with when where why who it not have which me a an about",
    "de": "der die das ist und ich nicht wie was ein eine einen kann mit für wo wann warum wer sie mein meine den dem zu auf von "
    "haben bitte es gibt wird",
    "fr": "le la les est et je ne pas comment que quoi un une des du pour avec où quand pourquoi qui vous mon ma mes dans sur "
    "puis-je puis peux c'est quel quelle l'on j'ai",
    "es": "el la los las es y yo no cómo como qué que un una para con dónde cuándo por quién usted mi mis en del puedo cuál está "
    "hay tengo",
    "it": "il lo la gli le è e io non come che cosa un una per con dove quando perché chi mio mia nel della del posso qual quale "
    "sono ho questo",
    "pt": "o a os as é e eu não como que um uma para com onde quando por quem você meu minha no na do da posso qual está há "
    "tenho isto",
    "nl": "de het een is en ik niet hoe wat kan met voor waar wanneer waarom wie je u mijn van op dat zijn heb dit er te",
    "pl": "jest i nie jak co czy to mogę się na w z dla gdzie kiedy dlaczego kto mój moja ile jakie jaki jaka do od",
    "sv": "är och jag inte hur vad en ett kan med för var när varför vem det som på min mitt av att har den",
    "da": "er og jeg ikke hvordan hvad en et kan med hvor hvornår hvorfor hvem det på min mit af at har den hvilken mig",
    "no": "er og jeg ikke hvordan hva en et kan med hvor når hvorfor hvem det på min mitt av å har den hvilken meg",
    "fi": "on ja minä en ei miten mikä mitä voi voin kanssa missä milloin miksi kuka tämä se että minun onko voinko kuinka",
    "cs": "je a já ne jak co kde kdy proč kdo můj moje mám mohu můžu se na v z pro s že jaký jaká kolik to lze",
    "tr": "ve bir bu ne nasıl mı mi mu mü için ile nerede zaman neden kim benim var değil ben hangi kaç olarak da de",
    "ru": "и не что как где когда почему кто это я мой моя можно ли в на с для у мне есть сколько какой",
    "uk": "і не що як де коли чому хто це я мій моя можна чи в на з для у мені є скільки який",
}
_LETTERS = {  # that hardly any of the others has
    "de": "ß",
    "fr": "œ",
    "es": "ñ¿¡",
    "pt": "ãõ",
    "pl": "ąćęłńśźż",
    "cs": "ěřůť",
    "tr": "ğış",
    "ru": "ыэёъ",
    "uk": "іїєґ",
}
_LISTS = {language: frozenset(words.split()) for language, words in _WORDS.items()}


def base(locale: str) -> str:
    """The language of a locale: `de` of `de-CH`; what goes by two names gets the one that is used here."""
    language = re.split("[-_.@]", locale.strip().lower(), maxsplit=1)[0]
    return {"nb": "no", "nn": "no", "iw": "he", "cmn": "zh", "yue": "zh"}.get(language, language)


def guessed(text: str) -> str | None:
    """The language of a text; None where nothing speaks for one more than for the others.

    >>> guessed("Wann kommt mein Paket?")
    'de'
    """
    text = text[:LONGEST].casefold()
    letters = sum(char.isalpha() for char in text)
    for language, script in _SCRIPTS:
        if 4 * len(script.findall(text)) >= max(1, letters):
            if language == "zh" and _KANA.search(text):
                return "ja"
            return None if language == "ar" and _ELSEWHERE.search(text) else language
    words = [word.replace("’", "'") for word in _WORD.findall(text)]
    scores = {language: float(sum(word in known for word in words)) for language, known in _LISTS.items()}
    for language, own in _LETTERS.items():
        scores[language] += sum(text.count(letter) for letter in own)
    first, second = sorted(scores.values(), reverse=True)[:2]
    return max(scores, key=lambda language: scores[language]) if first > second else None
