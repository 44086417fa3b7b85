"""Which sentences of an answer state something that evidence has to bear.

Questions, headings, code, greetings, offers of help, announcements ("Here are the steps:") and what an answer says of the
evidence itself ("The handbook does not say") state nothing. A sentence with a figure in it is never let off by its wording.

Limits: the wordings are English, German, French, Spanish, Italian, Dutch and Chinese; in other languages every sentence of more
than a word or two that is no question is taken for a statement.
"""

from __future__ import annotations

from mainstay.core.later import pattern
from mainstay.core.sentences import Sentence
from mainstay.parts.matching import words_of

MARK = pattern(r"\s*\[(\d{1,3})\]")
_NODS = frozenset("yes no ok okay ja nein doch oui non sí si ja nee 是 不 好".split())

_QUESTION = pattern(r"[?？؟;]\W*$")
_ANNOUNCES = pattern(r"[:：]\W*$")
_FIGURE = pattern(r"\d")
_ENGLISH_TEXTS = (
    "handbook|documentation|docs?|documents?|passages?|sources?|context|articles?|text|guide|pages?|knowledge base|evidence"
)
_NOT = r"(?:(?:do|does|did|is|are|has|have|can|could)(?:n['’]t| not)|no|nothing|neither)"
_GERMAN_NOT = r"(?:nichts?|kein\w*)"
_GERMAN_SAYS = r"(?:sag|steh|erwähn|angegeben|beschr|geht|beantwort|informationen)"
# What is said of the evidence or of oneself, wherever it stands in the folded sentence.
_OF_EVIDENCE = pattern(
    "|".join(
        (
            # en
            rf"\b(?:{_ENGLISH_TEXTS})\b[^,;:]{{0,30}}? {_NOT}\b[^,;:]{{0,20}}? "
            rf"(?:say|state|mention|specif|describe|explain|address|answer|tell)",
            rf"\b(?:{_ENGLISH_TEXTS})\b[^,;:]{{0,30}}? {_NOT}\b[^,;:]{{0,20}}? (?:contain|cover|provide|include|"
            rf"give|have) "
            r"(?:any|information|details|an answer|anything|whether|how|what|when|where|if|that)\b",
            r"\bi (?:do not|don['’]t|did not|didn['’]t|can ?not|can['’]t|could not|couldn['’]t|(?:am|was)"
            r" (?:not able|"
            r"unable) to) (?:\w+ )?"
            r"(?:know|find|found|see|say|tell|answer|help|have (?:\w+ )?information|confirm|determine)",
            r"\bthere is (?:no|nothing) (?:\w+ )?(?:information|mention|passage|evidence|about|on this)",
            # de
            rf"\b(?:handbuch|dokumentation|unterlagen|quellen?|passagen?|text|seiten?|artikel|dokumente?)\b[^,;:]{{0,30}}?"
            rf"(?: {_GERMAN_NOT}\b[^,;:]{{0,30}}? {_GERMAN_SAYS}| {_GERMAN_SAYS}\w*\b[^,;:]{{0,20}}? {_GERMAN_NOT}\b)",
            r"\b(?:ich|wir) (?:weiß|finde|fand|habe|kann|konnte)\b[^,;:]{0,40}? (?:nichts?|kein\w*)\b",
            r"\bdazu (?:steht|gibt es|finde)\b[^,;:]{0,30}? (?:nichts?|kein\w*)\b",
            # fr, es, it, nl
            r"\b(?:manuel|documentation|documents?|sources?|passages?|textes?)\b[^,;:]{0,30}? n['’e]\W?"
            r"(?:dit|disent|mentionn|précis|indiqu)",
            r"\bje (?:ne |n['’])(?:sais|trouve|peux|dispose)\b[^,;:]{0,30}?(?:pas|rien|aucun)",
            r"\b(?:manual|documentación|documentos?|fuentes?|pasajes?|textos?)\b[^,;:]{0,30}? no "
            r"(?:dice|mencion|indic|especific|explic)",
            r"^\W*no (?:sé|encuentro|encontré|puedo (?:responder|decir|confirmar|ayudar)|tengo información|hay información)\b",
            r"\b(?:manuale|documentazione|documenti|fonti)\b[^,;:]{0,30}? non (?:dic|menzion|indic|specific|spieg)",
            r"\b(?:handleiding|documentatie|bronnen|tekst)\b[^,;:]{0,30}? (?:niet|geen|niets)\b[^,;:]{0,30}?"
            r"(?:vermeld|genoemd|zeg|staat)",
            # zh
            r"(?:手册|文档|资料|来源|段落|文中|原文).{0,12}(?:没有|未).{0,4}(?:说|提|写|包含|涉及|信息)",
            r"(?:我|我们).{0,6}(?:无法|不能|找不到|不知道)",
        )
    )
)
# What is said to the reader, from the beginning of the folded sentence.
_TO_READER = pattern(
    r"^\W*(?:i hope|hope (?:this|that)|feel free|please (?:let|feel|note that i|ask)|let me know|if you (?:have|"
    r"need) (?:any|"
    r"more|further|other)|"
    r"best regards|kind regards|i(?:['’]m| am) (?:happy|glad|here) to help|"
    r"ich hoffe|melde(?:n sie)? (?:dich|sich)|(?:falls|wenn) (?:sie|du) (?:noch|weitere)|viele grüße|"
    r"mit freundlichen|"
    r"j['’]espère|n['’]hésitez|si vous avez (?:d['’]|des)|espero que|no dudes?|si tienes? (?:más|otra)|spero che|"
    r"ik hoop|希望)"
)
# What is said by itself, or with a name or two.
_GREETING = pattern(
    r"^\W*(?:hello|hi|hey|dear|welcome|good (?:morning|afternoon|evening)|thanks?|thank you|sorry|apologies|"
    r"you['’]re welcome|"
    r"great|sure|"
    r"certainly|of course|happy to help|i(?:['’]m| am) sorry|hallo|guten (?:tag|morgen|abend)|danke|vielen dank|"
    r"gerne?|sicher|"
    r"natürlich|leider|"
    r"entschuldigung|es tut mir leid|bonjour|bonsoir|merci|désolée?|bien sûr|volontiers|hola|buenos días|"
    r"buenas (?:tardes|"
    r"noches)|gracias|"
    r"lo siento|claro|por supuesto|ciao|buongiorno|grazie|mi dispiace|certo|goedendag|dank|helaas|graag|"
    r"natuurlijk|你好|您好|谢谢|抱歉|"
    r"对不起|当然)"
    r"\b(?:,? \w+){0,3}\W*$"
)
_LONG = 25  # words above which a sentence says more than its wording
_AND = pattern(r"\b(?:but|however|yet|aber|jedoch|sondern|mais|pero|sino|ma|maar)\b|但")


def states(sentence: Sentence) -> bool:
    """Whether the sentence states something."""
    if sentence.kind in ("heading", "code"):
        return False
    text = MARK.sub(" ", sentence.text)
    if _FIGURE.search(text):
        return True
    if _QUESTION.search(text) or _ANNOUNCES.search(text):
        return False
    if not any(word.kind != "small" and word.key not in _NODS for word in words_of(text)):
        return False
    folded = " ".join(text.casefold().split())
    if len(folded.split()) > _LONG or _AND.search(folded):
        return True
    return not any(wording.search(folded) for wording in (_OF_EVIDENCE, _TO_READER, _GREETING))
