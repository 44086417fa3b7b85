"""`injection`: instructions to the model where none belong: in what a user sends, and in passages that were found.

Listed under `input` it refuses inputs that want to override, extract or get around the instructions (`unsafe_input`), and it
reads each passage before the model does: one that holds an instruction to an assistant is left out, the record says so, and the
answer goes on with the rest. Options: `at_least`, the probability from which on an input or a passage counts, by default the
measured one; `classifier`, one of mainstay.toml that decides where the fast one is unsure, and its `label`.

Two small classifiers decide (docs/cards/injection.md), one over whole inputs, one over each sentence of a passage and how it fits
the rest of it; in other languages than English reviewed phrases do. Base64 and rot13 are looked into. Limits: a polite request
that is no instruction to an assistant, or one in a language that has no phrases, is not seen.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import functools
import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from mainstay.core.draft import ALLOW, Draft, Verdict, refuse
from mainstay.core.reasons import Reason
from mainstay.core.seams import TextClassifier
from mainstay.parts.second import SecondOpinion
from mainstay.parts.textmodel import Marks, TextModel, folded, models, tokens

WINDOW, STEP = 2_000, 1_500  # characters of an input that are judged together
REMEMBERED = 2_048  # passages whose probability is remembered
UNSURE = (0.1, 0.97)  # the fast probabilities between which a classifier is asked
_SOME = r"(?:\W+\w+){0,5}?\W+"

# What instructions to a model are made of, in folded English text. Each name is a mark that the model has a weight for.
_MARKS = {
    "override": rf"\b(?:ignore|disregard|forget|override|overrule|bypass|discard|neglect|skip)\b{_SOME}"
    r"(?:instructions?|rules?|prompts?|directions?|guidelines?|orders?|commands?|context|restrictions?|everything|programming)\b",
    "override earlier": rf"\b(?:ignore|disregard|forget|do not (?:listen|follow))\b{_SOME}"
    r"(?:previous|previously|prior|above|preceding|earlier|before|all|your|initial|everything|any)\b",
    "your answer": r"\b(?:your|this|the|every|each) (?:\w+ )?(?:answers?|responses?|repl(?:y|ies)|"
    r"outputs?|messages?|explanations?)\b",
    "into your answer": r"\b(?:in|to|of|with|into|throughout|within|from) (?:your|the|every|this) (?:\w+ )?"
    r"(?:answers?|responses?|repl(?:y|ies)|outputs?|messages?|explanations?)\b",
    "your code": r"\b(?:your|the) (?:\w+ )?(?:code|implementation|solution|algorithm|program|script|codebase|logic|design)\b",
    "this code": r"\b(?:following|below|subsequent|provided|given|this|next) (?:\w+ )?"
    r"(?:code|snippet|block|segment|excerpt|section|fragment|script)\b",
    "begin with": r"\b(?:start|begin|end|finish|conclude|prefix|open) (?:your|the|every|each) ",
    "be another": r"\b(?:you are now|from now on|act as|act like|pretend (?:to be|you)|you will (?:be|act|play)|you are going to|"
    r"play the role|role ?play|simulate|imagine you|you're (?:now|a)|stay in character)\b",
    "no rules": r"\b(?:unfiltered|uncensored|amoral|unrestricted|no (?:restrictions|rules|limits|filters?|ethical)|"
    r"without (?:any )?(?:restrictions|rules|filters?|limits)|anything now|jailbr\w+|developer mode|never (?:refuse|"
    r"say|tell)|not bound)\b",
    "no morals": r"\b(?:no|any|without|free (?:of|from)|lacks?|ignor\w+|drop|breaks?)\b(?:\W+\w+){0,3}?\W+"
    r"(?:ethic\w*|moral\w*|safety|content|usual|policy|policies|guidelines|boundaries|censorship)\b",
    "always answers": r"\b(?:never (?:refuse|apologi[sz]e|decline|say no)|always (?:answer|respond|compl[yi]|obey|"
    r"fulfil|send|follow)|"
    r"no matter (?:how|what)|whatever (?:i|is|the user)|any request|every request)",
    "show the prompt": rf"\b(?:repeat|print|reveal|show|output|display|tell me|what (?:is|are|was|were)|which|give me|"
    rf"leak|list|translate|"
    rf"encode|spell out|write)\b{_SOME}(?:(?:system |initial |original |your )prompts?|(?:your|of your|the) instructions|"
    r"instructions above|words above|before this line|told not to|were you given|secret)\b",
    "roles": r"<\|?/?(?:im_start|im_end|system|user|assistant|s|inst)\|?>|\[/?inst\]|<</?sys>>|^\W*(?:system|"
    r"assistant|human|user)\W*:|"
    r"^\[(?:system|user|assistant)\]|###? ?(?:system|instruction|response)|\"role\"",
    "agreed": r"\bsure,? (?:here|let)|[\"']sure\b",
    "tags": r"<\w+>",
    "fence": r"```",
    "address": r"\b(?:https?://|www\.|\w+\.(?:com|net|org)\b)",
}

# "Ignore the instructions before this", in folded text. Reviewed. What is found decides alone.
PHRASES = {
    "de": r"\b(?:ignorier\w*|vergiss|vergessen sie|missacht\w*|uberge\w*)\b.{0,40}\b(?:anweisung|instruktion|regel|"
    r"vorgabe|befehl)",
    "fr": r"\b(?:ignore[rz]?|oublie[rz]?|ne ten\w+ pas compte)\b.{0,40}\b(?:instruction|consigne|regle|directive)",
    "es": r"\b(?:ignora|ignore|olvida|olvide|descarta)\b.{0,40}\b(?:instruccion|regla|orden|indicacion|directri)",
    "it": r"\b(?:ignora|ignori|dimentica|trascura)\b.{0,40}\b(?:istruzion|regol|ordin|indicazion|direttiv)",
    "pt": r"\b(?:ignor[ea]|esquec[ea]|desconsider[ea])\b.{0,40}\b(?:instruc|regra|orden|orient|diretri)",
    "nl": r"\b(?:negeer|vergeet)\b.{0,40}\b(?:instructie|regel|opdracht|aanwijzing)",
    "pl": r"\b(?:zignoruj|ignoruj|zapomnij)\b.{0,40}\b(?:instrukc|polece|zasad|regul)",
    "tr": r"(?:talimat|kural|komut|yonerge)\w*.{0,20}(?:yok say|unut|gormezden gel|dikkate alma)",
    "ru": r"(?:игнорируй\pL*|забудь\pL*|проигнорируй\pL*|не обращай\pL* внимания).{0,40}(?:инструкци|правил|указани|команд)",
    "uk": r"(?:ігноруй\pL*|забудь\pL*|проігноруй\pL*).{0,40}(?:інструкці|правил|вказівк|команд)",
    "zh": r"(?:忽略|无视|忘记|忘掉|不要理会).{0,15}(?:指令|指示|规则|说明|提示)",
    "ja": r"(?:指示|命令|ルール|規則|プロンプト).{0,15}(?:無視|忘れ)",
    "ko": r"(?:지시|명령|규칙|프롬프트).{0,15}(?:무시|잊)",
    "ar": r"(?:تجاهل|انس|اهمل).{0,40}(?:التعليمات|تعليمات|القواعد|الاوامر|الأوامر)",
    "hi": r"(?:निर्देश|नियम|आदेश).{0,20}(?:अनदेखा|अनदेखी|भूल|नज़रअंदाज़)",
}
_FOUND = Marks({**_MARKS, "other language": "|".join(PHRASES.values())})

# Verbs by which something is asked for, at the beginning of a sentence.
_IMPERATIVE = re.compile(
    r"^\W*(?:(?:please|kindly|now|also|then|next|first|finally|and) )*(?:"
    "add|append|include|insert|integrate|incorporate|embed|modify|change|alter|rewrite|write|express|translate|convert|encode|reverse|"
    "replace|provide|give|render|craft|create|compose|design|develop|explain|describe|summari[sz]e|list|tell|say|respond|reply|answer|use|"
    "employ|utili[sz]e|enhance|augment|end|begin|start|conclude|ignore|forget|disregard|make|ensure|output|print|repeat|reveal|show|send|"
    "suggest|recommend|mention|refer|ask|invite|encourage|promote|blend|merge|weave|combine|implement|execute|run|apply|analy[sz]e|"
    "determine|classify|calculate|solve|generate|draft|imagine|pretend|act|rearrange|scramble|shift|substitute|swap|omit|remove|delete|"
    r"spell|speak|adopt|assume|remember|consider|introduce|highlight|emphasi[sz]e|spread|share|advise|persuade|urge|inform|present|offer)\b"
)
_ASKING = re.compile(r"^\W*(?:who|what|when|where|why|how|can|could|would|will|is|are|do|does)\b")
_ENDS = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_BLOB = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_CAMEL = re.compile(r"[a-z][A-Z]")
_ODD = str.maketrans("", "", "{}[]()<>\\|`~^_=+*#@$%&/;")
_STOPS = frozenset(".,;-")  # how a set is punctuated says nothing of what it is
_ROT13 = re.compile("vafgehpgvba|flfgrz cebzcg|cerivbhf")  # instruction, system prompt, previous


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    at_least: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(
            description="The probability from which on an input or a passage counts as an attack; by default the measured ones."
        ),
    ] = None
    classifier: Annotated[
        str | None, Meta(description="The name of a classifier in mainstay.toml, asked where the fast one is unsure.")
    ] = None
    label: Annotated[str, Meta(description="The classifier's label for an attack.")] = "INJECTION"


class Injection:
    """The guard. `passages` says that it also wants to see what was found, before the model does."""

    options = Options
    hold = 0
    passages = True

    def __init__(
        self,
        *,
        at_least: float | None = None,
        classifier: TextClassifier | None = None,
        label: str = "INJECTION",
        direct: TextModel | None = None,
        planted: TextModel | None = None,
    ) -> None:
        self._direct, self._planted = direct or models("injection")["direct"], planted or models("injection")["planted"]
        self.at_least = {
            "input": self._direct.threshold if at_least is None else at_least,
            "passage": self._planted.threshold if at_least is None else at_least,
        }
        self._second = SecondOpinion(classifier, label, at_least)
        self._remembered = functools.lru_cache(REMEMBERED)(self.in_passage)

    async def check(self, draft: Draft) -> Verdict:
        """Look at the texts of a call, or at one passage; what a model wrote is not looked at."""
        if draft.stage == "passage":
            return await self._judged(draft, "the passage", draft.text, self._remembered(draft.text))
        if draft.stage != "input":
            return ALLOW
        noted = ALLOW
        for path, text in _untrusted(draft):
            verdict = await self._judged(draft, path, text, self.in_input(text))
            if verdict.action != "allow":
                return verdict
            noted = noted if verdict is ALLOW else verdict
        return noted

    async def _judged(self, draft: Draft, place: str, text: str, fast: float) -> Verdict:
        yes, note = await self._second.of(text, unsure=UNSURE[0] <= fast <= UNSURE[1])
        if yes or (yes is None and fast >= self.at_least[draft.stage]):
            what = f"{place} holds an instruction to the model (probability {fast:.2f})"
            return refuse(Reason.UNSAFE_INPUT, f"{what}; {note}" if note else what)
        return Verdict(action="allow", detail=note) if note else ALLOW

    def in_input(self, text: str) -> float:
        """How probable it is that an input, or what is encoded in it, attacks the instructions."""
        return max([self._of_window(window) for window in windows(text)], default=0.0)

    def _of_window(self, text: str) -> float:
        words, marks = reading(text)
        return 1.0 if "other language" in marks else self._direct.probability(words, marks)

    def in_passage(self, text: str) -> float:
        """How probable it is that one of the sentences of a passage is an instruction to the model."""
        most = 0.0
        for words, marks in sentences(text):
            most = max(most, 1.0 if "other language" in marks else self._planted.probability(words, marks))
        return most


def _untrusted(draft: Draft) -> Iterator[tuple[str, str]]:
    """The texts that came from outside. Of a plain model's messages, those that the application did not write itself."""
    request = draft.call.request
    if request is None:
        yield from draft.call.texts()
        return
    for i, message in enumerate(request.messages):
        if message.role in ("user", "tool"):
            yield f"messages[{i}].content", message.text


def windows(text: str) -> Iterator[str]:
    """An input in pieces that overlap, and what is encoded in it."""
    for start in range(0, max(1, len(text) - WINDOW + STEP), STEP):
        yield text[start : start + WINDOW]
    yield from _decoded(text)


def _decoded(text: str) -> Iterator[str]:
    for blob in _BLOB.findall(text)[:5]:
        try:
            inner = base64.b64decode(blob[: len(blob) // 4 * 4] if not blob.endswith("=") else blob, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        if inner.isprintable() and " " in inner:
            yield inner
    if _ROT13.search(text.lower()):
        yield codecs.decode(text, "rot13")


def reading(text: str) -> tuple[list[str], list[str]]:
    """The tokens and marks of an input."""
    plain = folded(text)
    words = tokens(plain)
    marks = _marks(plain)
    first = [word for word in words[:3] if word.isalpha()]
    marks += [f"1 {first[0]}"] if first else []
    marks += [f"2 {first[0]} {first[1]}"] if len(first) > 1 else []
    size = len(text) or 1
    odd, camel = (len(text) - len(text.translate(_ODD))) / size, 100 * len(_CAMEL.findall(text)) / size
    marks += [name for name, here in _strange(odd, camel) if here]
    if text.count("\n") > 5:
        marks.append("lines")
    return [word for word in words if word not in _STOPS], marks


def _strange(odd: float, camel: float) -> tuple[tuple[str, bool], ...]:
    """Marks of a text that a search algorithm has put together, from its shares of odd signs and of capitals within words."""
    return ("odd signs", odd > 0.03), ("very odd signs", odd > 0.08), ("capitals", camel > 0.5), ("many capitals", camel > 2)


def _marks(plain: str) -> list[str]:
    marks = _FOUND.of(plain)
    if plain.rstrip().endswith("?"):
        marks.append("asks")
    return marks


def sentences(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """The tokens and marks of each sentence or line of a passage, and of what is encoded in it."""
    pieces = [piece for piece in _ENDS.split(folded(text)) if piece.strip()]
    cut = [tokens(piece) for piece in pieces]
    about = [{word for word in words if len(word) > 3} for words in cut]
    counts = Counter([word for words in about for word in words])
    for piece, words, mine in zip(pieces, cut, about, strict=True):
        known = sum([counts[word] > 1 for word in mine]) / len(mine) if mine else None
        yield words, sentence_marks(piece, len(words), known)
    for inner in _decoded(text):
        plain = folded(inner)
        words = tokens(plain)
        yield words, sentence_marks(plain, len(words), 0.0)


def sentence_marks(plain: str, length: int, known: float | None) -> list[str]:
    """The marks of a folded sentence of that many tokens, `known` being the share of its words that the passage has elsewhere."""
    marks = _marks(plain)
    if _IMPERATIVE.match(plain):
        marks.append("imperative")
    if _ASKING.match(plain):
        marks.append("question word")
    if plain.rstrip().endswith(":"):
        marks.append("colon")
    if "|" in plain:
        marks.append("table")
    marks.append("no words" if known is None else f"known {int(known * 3.99)}")
    marks.append(f"length {min(6, length.bit_length())}")
    return marks
