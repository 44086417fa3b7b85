"""What can be wrong with an answer as a text: garbage, an echo, another language, an instruction obeyed.

Each check gives what is wrong with it, or nothing. Texts that the answer may repeat (the input, the evidence) are given as
`known`: what stands there is a quotation. What no check knows: whether an answer is true.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

LOOKED_AT = 4_000  # characters at the end of an answer in which repetitions are looked for
_WORD = re.compile(r"\w+")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\u202d\u202e]")
_MOJIBAKE = re.compile(
    "Ã[\u0080-\u00bf©¨¤¶¼Ÿ±§ª«¡¢£]|â€[™œ“”\u009c\u009d\u0080-\u00bf¦]|Â[\u00a0-\u00bf]|ï¿½|Ð[\u0080-\u00bf°±²µ]Ñ"
)
_MARKUP = re.compile(
    r"\{\{[^}\n]{0,40}(?:\}\})?|\{%[^%\n]{0,40}(?:%\})?|<\|[a-z_]{2,30}\|>|\[/?INST\]|<</?SYS>>"
    r"|^\[(?:system|user|assistant)\]\s*$|^#{2,3} ?(?:System|Instruction|Response)\b:?",
    re.MULTILINE,
)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_RUN = re.compile(r"(.{2,80}?)\1{9,}", re.DOTALL)
_SCRIPTS = (
    ("Greek", "\u0370-\u03ff"),
    ("Cyrillic", "\u0400-\u052f"),
    ("Hebrew", "\u0590-\u05ff"),
    ("Arabic", "\u0600-\u06ff\u0750-\u077f"),
    ("Devanagari", "\u0900-\u097f"),
    ("Thai", "\u0e00-\u0e7f"),
    ("Japanese", "\u3040-\u30ff"),
    ("Chinese", "\u4e00-\u9fff"),
    ("Korean", "\uac00-\ud7af\u1100-\u11ff"),
)
_COMMON = {
    "English": "the and is are of to in that it you for with not this what how can be does from your have",
    "German": "der die das und ist nicht ein eine zu mit auf für sie ich wie was kann den dem von im wir",
    "French": "le la les des est une et dans pour que qui pas vous sur avec au ce il je nous du ne",
    "Spanish": "el los las que y en es una por con para no se lo como su del más qué pero este",
    "Italian": "il che di è non per una con sono gli le della si come ma questo nel anche più ho",
    "Portuguese": "o os as que de e em um uma não para com por se do da como mais é na você",
    "Dutch": "de het een en van ik is dat niet je op te met voor zijn aan er wat kan maar",
}


def words(text: str) -> list[str]:
    """The words of a text, without regard to case and form."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def plainly(text: str) -> str:
    """The text without what cannot be seen, and without regard to case and form."""
    visible = "".join([c for c in text if unicodedata.category(c) not in ("Cf", "Mn")])
    return unicodedata.normalize("NFKC", visible).casefold()


def nothing_shown(text: str) -> bool:
    """Whether there is nothing to see in it."""
    return all(c.isspace() or unicodedata.category(c) in ("Cf", "Cc", "Mn", "Cn", "Cs") or c in "\u2800\u3164" for c in text)


# Garbage


def garbage(text: str, known: str, *, controls: str) -> Iterator[tuple[str, str]]:
    """What no reader can use, each with a stretch of it: `known` are the texts that may be quoted, `controls` those that may be
    quoted with the control characters in them.
    """
    if "\ufffd" in text and "\ufffd" not in known:
        yield "it holds replacement characters", "\ufffd"
    strange = next((c for c in _CONTROLS.findall(text) if c not in controls), None)
    if strange is not None:
        yield f"it holds the control character U+{ord(strange):04X}", strange
    for stretch in {m[0] for m in _MOJIBAKE.finditer(text)}:
        if stretch not in known:
            yield f"it holds wrongly decoded text, such as {stretch!r}", stretch
            break
    for match in _MARKUP.finditer(_CODE.sub(" ", text)):
        opening = match[0][:2] if match[0][0] == "{" else match[0]  # a quotation may be cut
        if opening not in known:
            yield f"it holds markup of a prompt: {match[0]!r}", match[0]
            break
    repeated = _repeated(text)
    if repeated and repeated not in known:
        yield f"it says {repeated.strip()[:40]!r} again and again", repeated


def _repeated(text: str) -> str:
    """What a text says so often in a row that it is most of it; five times that, or nothing."""
    end = text[-LOOKED_AT:]
    for match in _RUN.finditer(end):
        if len(match[0]) >= max(100, len(end) // 2) and any(c.isalpha() for c in match[1]):
            return match[1] * 5
    return ""


def is_json(text: str) -> bool:
    """Whether the text is nothing but a JSON object or list, perhaps in a fence."""
    bare = text.strip().removeprefix("```").removeprefix("json").removesuffix("```").strip()
    return bool(re.fullmatch(r'\{\s*"[^"]*"\s*:.*\}|\[\s*\{\s*".*\}\s*\]|\{\s*\}|\[\s*\]', bare, re.DOTALL))


def echoes(text: str, input: str) -> bool:
    """Whether an answer is little more than the input, said back."""
    said, asked = " ".join(text.split()), " ".join(input.split())
    return len(asked) >= 20 and asked in said and len(asked) >= 0.8 * len(said)


# Languages


def tongue(text: str) -> str | None:
    """The script of a text, or its language where the script is Latin; None where it is too short or too mixed to tell."""
    letters = [c for c in text if c.isalpha()]
    if len(letters) < 12:
        return None
    for name, characters in _SCRIPTS:
        share = len(re.findall(f"[{characters}]", text)) / len(letters)
        if share > (0.2 if name == "Japanese" else 0.7):
            return name
    latin = sum("LATIN" in unicodedata.name(c, "") for c in letters[:300]) / len(letters[:300])
    said = words(text)
    if latin < 0.9 or len(said) < 8:
        return None
    counts = sorted([(sum(w in common.split() for w in said), name) for name, common in _COMMON.items()], reverse=True)
    (best, name), (second, _) = counts[0], counts[1]
    return name if best >= 3 and best >= 1.5 * second and best >= len(said) / 10 else None


def obeyed(text: str, marker: str) -> bool:
    """Whether the text holds the word that only stands there if the instruction was followed."""
    return bool(marker) and marker in plainly(text)
