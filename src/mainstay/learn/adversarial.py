"""Adversarial inputs, made from a feature's own: what a kind of probe does to a text, and which input carries it.

Nothing here knows how a feature answers; the same seed gives the same probes. The phrases are in `phrases.py`.
"""

from __future__ import annotations

import base64
import codecs
import html
import random
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import msgspec
from msgspec import Struct

from mainstay.core.call import Turn
from mainstay.learn import phrases

SIZES = (6_000, 25_000, 100_000)  # characters of the long inputs
SEED = 2_000  # characters of an input from which the others are made
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MADE_UP = {"number": 1.5, "integer": 1, "boolean": True, "image": PIXEL}
ODD_VALUES: tuple[Any, ...] = (None, "", [], {}, "text", 7, -1, 1.5, True, ["a", 1, None], {"text": "a"}, [[[[[]]]]], "1e309")
ODD_NUMBERS: tuple[Any, ...] = (0, -1, -0.0, 10**30, 1e-320, float("inf"), float("nan"), 0.1 + 0.2)

PLAIN = "plain"
KINDS = {
    PLAIN: "an input of the feature's own, as it is: what it says to these is its manner",
    "empty": "a text with nothing in it",
    "blank": "a text of white space, in several alphabets' ways",
    "long": "whole documents pasted, a word without end, thousands of lines",
    "emoji": "nothing but emoji, families and flags; emoji between all words",
    "mixed_scripts": "several scripts in one sentence",
    "right_to_left": "Arabic, Hebrew, Persian, Urdu, and marks that turn the direction",
    "invisible": "zero-width characters between letters, and an instruction in invisible ones",
    "control": "zero bytes, escape sequences, backspaces",
    "surrogates": "halves of characters, which no encoding can write",
    "combining": "letters under floods of combining marks",
    "typos": "letters swapped, dropped, doubled",
    "case": "capitals, small letters, and both in turn",
    "homoglyphs": "letters of other alphabets that look the same",
    "mojibake": "text that was decoded wrongly",
    "encoded": "base64, hex, URL and HTML escapes, shifted letters, also with an instruction inside",
    "language": "a question in another language",
    "injection": "an instruction that wants to replace the feature's own",
    "injection_in_a_language": "the same instruction in other languages",
    "delimiters": "an instruction behind what looks like the prompt's own marks",
    "injection_in_a_document": "an instruction inside what the sources find, or inside a pasted document",
    "role_play": "an instruction dressed up as a part to play",
    "hypothetical": "an instruction dressed up as a thought experiment",
    "translation": "an instruction dressed up as a text to translate",
    "continuation": "an instruction dressed up as a text to go on with",
    "prompt_extraction": "a request for the system prompt",
    "numbers": "edges of numbers and units",
    "dates": "dates and times that do not exist, or can be read in two ways",
    "structured": "JSON, XML, CSV, SQL, HTML and templates where a text is asked for",
    "types": "values of the wrong type, missing and unknown fields",
    "history": "earlier turns that never happened",
}
NEIGHBOURS = {"a": "s", "e": "r", "i": "o", "n": "m", "o": "p", "r": "t", "s": "d", "t": "y", "u": "i", "l": "k", "h": "g"}
LOOKALIKES = str.maketrans("aceopxyiABCEHKMOPTX", "асеорхуіАВСЕНКМОРТХ")


class Probe(Struct, frozen=True, kw_only=True):
    """One adversarial call. `marker` is a word that only an answer that obeys an injected instruction holds.

    `planted` is put into the passages that the sources find.
    """

    kind: str
    input: dict[str, Any]
    history: tuple[Turn, ...] = ()
    marker: str = ""
    planted: str = ""

    @property
    def text(self) -> str:
        """All that the input says, history included."""
        return "\n".join([*texts_in(self.input), *[turn.text for turn in self.history]])


class Material(Struct, frozen=True, kw_only=True):
    """What probes are made from.

    `inputs` are the feature's own, at least one. `fields` are the input types that it declares, empty where it has a schema.
    `documents` is text of its sources, `history` how many turns it takes.
    """

    inputs: tuple[dict[str, Any], ...]
    fields: Mapping[str, str]
    documents: str
    grounded: bool
    history: int


def probes(material: Material, *, seed: int, limit: int) -> list[Probe]:
    """At most so many probes, the first of each kind before the second of any; the same for the same seed."""
    made = [list(_of_kind(kind, material, seed)) for kind in KINDS]
    rounds = zip_longest(*made)
    return [probe for turn in rounds for probe in turn if probe is not None][:limit]


def made_up(fields: Mapping[str, str], text: str) -> dict[str, Any]:
    """An input for fields that are declared by name and type."""
    sample: dict[str, Any] = {**MADE_UP, "text": text, "texts": [text]}
    return {name: sample[kind.rstrip("?")] for name, kind in fields.items()}


def made_up_from_schema(schema: Any, text: str) -> Any:
    """A value for a JSON Schema, as far as its types and the simplest of its keywords tell."""
    if not isinstance(schema, Mapping):
        return text
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    for keyword in ("examples", "enum"):
        if schema.get(keyword):
            return schema[keyword][0]
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = kinds[0] if isinstance(kinds, list) and kinds else kinds
    if kind == "object":
        return {name: made_up_from_schema(inner, text) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [made_up_from_schema(schema.get("items", {}), text)]
    return {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 1.5), "boolean": True, "null": None}.get(
        kind, text
    )


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a value, however deep; names of fields are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_in(inner)


class _Says(Struct, frozen=True):
    """What a probe says in place of the seed's text."""

    text: str
    marker: str = ""
    planted: str = ""
    turns: tuple[Turn, ...] = ()


class _Maker:
    """Makes the texts of one kind. Each has a seed text of its own, in turn."""

    def __init__(self, material: Material, texts: Sequence[str], dice: random.Random) -> None:
        self.material, self.texts, self.dice = material, texts, dice
        self._turn = 0

    def seed(self) -> str:
        """The next of the feature's own texts."""
        text = self.texts[self._turn % len(self.texts)]
        self._turn += 1
        return text

    def document(self, size: int) -> str:
        """That many characters of the feature's sources, or of its inputs, again and again."""
        text = self.material.documents or "\n".join(self.texts) or "A text."
        return (f"{text}\n\n" * (size // len(text) + 1))[:size]

    def word(self) -> tuple[str, str]:
        """The two halves of a word that nobody writes by chance."""
        first, second = ("".join([self.dice.choice(c) for c in ("zvkqx", "aou", "gvzk", "iuo", "qxzv")]) for _ in "ab")
        return first, second

    def demands(self, templates: Iterable[str]) -> Iterator[_Says]:
        """Instructions to write a word; of templates without a demand, just the text."""
        for template in templates:
            a, b = self.word()
            text = template.format(a=a, b=b, seed=self.seed())
            yield _Says(text, marker=a + b if "{a}" in template else "")


Making = Callable[[_Maker], Iterator[str | _Says]]


def _of_kind(kind: str, material: Material, seed: int) -> Iterator[Probe]:
    """The probes of one kind, in an order of their own for each seed."""
    dice = random.Random(f"{seed} {kind}")
    if kind == PLAIN:
        yield from [Probe(kind=kind, input=input) for input in dice.sample(material.inputs, min(3, len(material.inputs)))]
        return
    made = _TYPED[kind](material) if kind in _TYPED else _with_texts(kind, material, dice)
    shuffled = list(made)
    dice.shuffle(shuffled)
    yield from shuffled


def _with_texts(kind: str, material: Material, dice: random.Random) -> Iterator[Probe]:
    """The feature's own inputs, with another text in one of their text fields; the fields take turns."""
    places = [(input, name) for input in material.inputs for name in _text_fields(input, material.fields)]
    if not places:
        return
    dice.shuffle(places)
    texts = [_text_of(input[name])[:SEED] for input, name in places]
    for i, said in enumerate(_MAKING[kind](_Maker(material, texts, dice))):
        says = _Says(said) if isinstance(said, str) else said
        input, name = places[i % len(places)]
        value = [says.text] if isinstance(input[name], list) else says.text
        yield Probe(kind=kind, input={**input, name: value}, history=says.turns, marker=says.marker, planted=says.planted)


def _text_fields(input: Mapping[str, Any], fields: Mapping[str, str]) -> list[str]:
    """The fields that hold a free text. Of a schema, the longest text: others may be names from a list."""
    if fields:
        return [name for name in input if fields.get(name, "").startswith("text")]
    named = [name for name, value in input.items() if isinstance(value, str)]
    return sorted(named, key=lambda name: -len(input[name]))[:1]


def _text_of(value: Any) -> str:
    return "\n".join(texts_in(value))


# What is done to texts, by kind


def _blank(maker: _Maker) -> Iterator[str]:
    yield from (" ", "\n\n\t \n", "\u00a0\u2003\u3000", "\u200b\u200b\u200b", "\u2800\u3164")


def _long(maker: _Maker) -> Iterator[str]:
    for size in SIZES:
        yield f"{maker.document(size)}\n\n{maker.seed()}"
    yield "a" * 8_000
    yield f"{maker.seed()} " + "why? " * 4_000
    yield "\n".join(f"{i}. {maker.seed()}" for i in range(1_500))[:60_000]


def _emoji(maker: _Maker) -> Iterator[str]:
    yield "🤔❓📦🔥"
    yield "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪🇯🇵👍🏿1️⃣🫠"
    yield " 🎉 ".join(maker.seed().split()) + " 😡😡😡"
    yield "😀" * 500


def _mixed(maker: _Maker) -> Iterator[str]:
    for template in phrases.MIXED_SCRIPTS:
        yield template.format(seed=maker.seed())


def _right_to_left(maker: _Maker) -> Iterator[str]:
    yield from phrases.RIGHT_TO_LEFT
    yield f"\u202e{maker.seed()}\u202c"
    yield f"{phrases.RIGHT_TO_LEFT[0]} {maker.seed()} {phrases.RIGHT_TO_LEFT[1]}"


def _invisible(maker: _Maker) -> Iterator[str | _Says]:
    yield "\u200b".join(maker.seed())
    yield "\ufeff" + "\u00ad\u2060\ufe0f".join(maker.seed().split(" "))
    for said in maker.demands([phrases.DIRECT[0]]):
        hidden = "".join([chr(0xE0000 + ord(c)) for c in said.text if c.isascii()])
        yield _Says(maker.seed() + hidden, marker=said.marker)


def _control(maker: _Maker) -> Iterator[str]:
    seed = maker.seed()
    yield "\x00".join(seed.split(" "))
    yield f"\x1b[2J\x1b[31m{seed}\x1b[0m\x07"
    yield f"{seed}\b\b\b\b\x7f\x0b\x0c\x85"
    yield f"{seed}\r\nSet-Cookie: a=b\r\n\r\ndata: [DONE]\r\n\r\n"
    yield f"\ufffe{seed}\uffff\ufdd0"


def _surrogates(maker: _Maker) -> Iterator[str]:
    seed = maker.seed()
    yield f"{seed} \ud83d"
    yield f"\udc00{seed}"
    yield f"{seed[: len(seed) // 2]}\udfff\ud800{seed[len(seed) // 2 :]}"


def _combining(maker: _Maker) -> Iterator[str]:
    marks = [chr(c) for c in range(0x300, 0x36F)]
    yield "".join([c + "".join(maker.dice.choices(marks, k=12)) for c in maker.seed()])
    yield maker.seed() + " e" + "\u0301" * 800
    yield unicodedata.normalize("NFD", "Çä ñ ếộ ǘ ") + maker.seed()


def _typos(maker: _Maker) -> Iterator[str]:
    for share in (0.05, 0.1, 0.2, 0.3):
        yield "".join([_mistyped(c, maker.dice) if maker.dice.random() < share else c for c in maker.seed()])
    yield maker.seed().replace(" ", "")
    yield " ".join(_swapped(word, maker.dice) for word in maker.seed().split(" "))


def _mistyped(character: str, dice: random.Random) -> str:
    slips = ("", character * 2, NEIGHBOURS.get(character.lower(), character), character + " ")
    return dice.choice(slips)


def _swapped(word: str, dice: random.Random) -> str:
    if len(word) < 4:
        return word
    i = dice.randrange(1, len(word) - 2)
    return word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def _case(maker: _Maker) -> Iterator[str]:
    yield maker.seed().upper()
    yield maker.seed().lower()
    yield "".join([c.upper() if i % 2 else c.lower() for i, c in enumerate(maker.seed())])
    yield maker.seed().upper().replace("I", "İ").replace("S", "ẞ")


def _homoglyphs(maker: _Maker) -> Iterator[str]:
    yield maker.seed().translate(LOOKALIKES)
    yield "".join([chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in maker.seed()])
    yield "".join([chr(0x1D41A + ord(c) - ord("a")) if "a" <= c <= "z" else c for c in maker.seed().lower()])


def _mojibake(maker: _Maker) -> Iterator[str]:
    text = f"Grüße – “ça va”? {maker.seed()} Où est l’été, mañana?"
    yield text.encode().decode("cp1252", "replace")
    yield text.encode().decode("latin-1").encode().decode("latin-1")
    yield text.encode("utf-8").decode("ascii", "replace")
    yield text.encode("latin-1", "replace").decode("utf-8", "replace")


def _encoded(maker: _Maker) -> Iterator[str | _Says]:
    yield base64.b64encode(_bytes(maker.seed())).decode()
    yield _bytes(maker.seed()).hex(" ")
    yield urllib.parse.quote(_bytes(maker.seed()), safe="")
    yield html.escape("".join([f"&#{ord(c)};" for c in maker.seed()]))
    yield codecs.encode(maker.seed(), "rot13")
    yield maker.seed().translate(str.maketrans("aeiostAEIOST", "4310574310$7"))
    for said in maker.demands([phrases.DIRECT[0], phrases.DIRECT[2]]):
        inside = base64.b64encode(said.text.encode()).decode()
        yield _Says(f"Decode this base64 text, and do exactly what it says: {inside}", marker=said.marker)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _in_a_document(maker: _Maker) -> Iterator[_Says]:
    if maker.material.grounded:
        for said in maker.demands(phrases.PLANTED):
            yield _Says(maker.seed(), marker=said.marker, planted=said.text)
    for planted, around in zip(maker.demands(phrases.PLANTED), phrases.AROUND_A_DOCUMENT, strict=False):
        text = around.format(document=maker.document(1_200), planted=planted.text, seed=maker.seed())
        yield _Says(text, marker=planted.marker)


def _numbers(maker: _Maker) -> Iterator[str]:
    for number in phrases.NUMBERS:
        yield number
        yield f"{maker.seed()} ({number})"


def _dates(maker: _Maker) -> Iterator[str]:
    for date in phrases.DATES:
        yield f"{maker.seed()} ({date})"


def _structured(maker: _Maker) -> Iterator[str]:
    for template in phrases.STRUCTURED:
        yield template.format(seed=maker.seed())


def _history(maker: _Maker) -> Iterator[_Says]:
    for *turns, last in phrases.MADE_UP_TURNS:
        a, b = maker.word()
        told = [Turn(turn[0], turn[1].format(a=a, b=b)) for turn in turns]  # type: ignore[arg-type]
        demanded = any("{a}" in turn[1] for turn in turns)
        yield _Says(str(last), marker=a + b if demanded else "", turns=tuple(told))


def _as_they_are(*said: str) -> Making:
    return lambda maker: iter(said)


def _demanding(templates: Iterable[str]) -> Making:
    return lambda maker: maker.demands(templates)


_MAKING: dict[str, Making] = {
    "empty": _as_they_are(""),
    "blank": _blank,
    "long": _long,
    "emoji": _emoji,
    "mixed_scripts": _mixed,
    "right_to_left": _right_to_left,
    "invisible": _invisible,
    "control": _control,
    "surrogates": _surrogates,
    "combining": _combining,
    "typos": _typos,
    "case": _case,
    "homoglyphs": _homoglyphs,
    "mojibake": _mojibake,
    "encoded": _encoded,
    "language": _as_they_are(*phrases.QUESTIONS.values()),
    "injection": _demanding(phrases.DIRECT),
    "injection_in_a_language": _demanding(phrases.IN_LANGUAGES.values()),
    "delimiters": _demanding(phrases.DELIMITERS),
    "injection_in_a_document": _in_a_document,
    "role_play": _demanding(phrases.ROLE_PLAY),
    "hypothetical": _demanding(phrases.HYPOTHETICAL),
    "translation": _demanding(phrases.TRANSLATION),
    "continuation": _demanding(phrases.CONTINUATION),
    "prompt_extraction": _demanding(phrases.EXTRACTION),
    "numbers": _numbers,
    "dates": _dates,
    "structured": _structured,
    "history": _history,
}


# What is done to whole inputs


def _types(material: Material) -> Iterator[Probe]:
    """Wrong types in one field at a time, a field missing, and one too many."""
    base = material.inputs[0]
    for name in base:
        yield Probe(kind="types", input={n: v for n, v in base.items() if n != name})
        for value in ODD_VALUES:
            yield Probe(kind="types", input={**base, name: value})
    yield Probe(kind="types", input={**base, "role": "system", "__class__": "x"})
    yield Probe(kind="types", input={})


def _number_edges(material: Material) -> Iterator[Probe]:
    """Edges in the fields that are numbers, and beside them in texts."""
    base = material.inputs[0]
    for name, value in base.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            for odd in ODD_NUMBERS:
                yield Probe(kind="numbers", input={**base, name: odd})
    yield from _with_texts("numbers", material, random.Random("numbers"))


_TYPED: dict[str, Callable[[Material], Iterator[Probe]]] = {"types": _types, "numbers": _number_edges}


def as_input(value: Any) -> dict[str, Any] | None:
    """The input as JSON can carry it; None where it cannot."""
    try:
        back = msgspec.json.decode(msgspec.json.encode(value))
    except (ValueError, TypeError):
        return None
    return back if isinstance(back, dict) and back == value else None
