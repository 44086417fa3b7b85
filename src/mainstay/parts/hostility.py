"""What hostile sentences are made of, as classes of words: who is spoken of, what is said of them, and how.

Content warning: the lists below hold slurs and words of violence, in folded text (`textmodel.folded`). They are short, reviewed,
and tagged by language; a word that is a slur in one use and none in another stays in, because classes only say what is there.
A guard's model weighs what stands together. What is not here is not seen, but for misspellings of a letter and words written
in one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import re2

from mainstay.parts.textmodel import tokens

# Classes: G a protected group, S a slur, H a hostile word, V violence, P praise, N a denial, D a frame that denounces,
# I a person.
WORDS = {
    "en": {
        "G": "women woman girl girls female females men gay gays lesbian lesbians homosexual homosexuals queer queers "
        "bisexual trans transgender transsexual transsexuals black blacks african africans muslim muslims islam "
        "islamic jew jews jewish christian christians hindu hindus buddhists catholics immigrant immigrants "
        "migrant migrants refugee refugees foreigner foreigners disabled disability disabilities handicapped "
        "autistic deaf blind elderly asian asians arab arabs mexican mexicans latino latinos roma chinese indian "
        "indians pakistani pakistanis turks poles minorities",
        "S": "bitch bitches cunt cunts whore whores slut sluts fag fags faggot faggots dyke dykes tranny trannies "
        "shemale nigger niggers nigga niggas coon coons muzzie muzzies raghead ragheads towelhead cripple cripples "
        "crippled retard retards retarded mong mongs spastic spic spics wetback wetbacks chink chinks gook gooks "
        "kike kikes paki pakis gypsy gypsies cockroaches",
        "H": "hate hates hated hatred despise despises detest detests loathe disdain contempt disgust disgusts "
        "disgusted disgusting revolting repulsive repugnant vile despicable pathetic stupid dumb dumbest ignorant "
        "filth filthy scum trash garbage vermin rat rats pest pests parasite parasites animals subhuman lesser "
        "inferior worthless cancer plague disease uncivilised uncivilized barbaric savages primitive threat evil "
        "sick worst worse moron morons idiot idiots ugly shitty monkey monkeys apes pigs crazy insane fucked dirty "
        "landfill mistake problem enemy hell loser losers freak freaks anger angry repulse abomination nothing "
        "abhor abhorrent appalling atrocious awful horrible terrible nasty gross sickening nauseating hideous foul "
        "rotten wicked immoral degenerate degenerates deviants perverts perverted criminals terrorists thieves "
        "liars lazy greedy useless brainless mindless clueless backward uneducated illiterate incompetent "
        "hysterical cowards traitors invaders leeches maggots lice insects swine beasts monsters demons creatures "
        "virus viruses infest infestation pollute ruin ruining dirt waste sewage gutter zoo cage slaves rage "
        "furious fury resent scorn deplorable contemptible insignificant unworthy unwanted unnatural abnormal "
        "defective sinful crap bullshit bastard bastards asshole assholes fuckers scumbag scumbags twat twats "
        "wankers prick pricks pissing",
        "V": "kill kills killed killing murder murdered slaughter slaughtered stab stabbed shoot shot rape raped raping "
        "hang hanged lynch gas gassed burn burned eradicate eradicated exterminate exterminated drown drowned "
        "strangle strangled behead cut beat attack torture tortured die dies death dead deport deported suffer "
        "bomb punch choke hurt rid dump dumped throats wiped execute executed assault bash smash crush hunt hunted "
        "harm massacre butcher bludgeon decapitate hung nuke poison purge genocide sterilise sterilize castrate "
        "exile expel expelled enslave whip annihilate obliterate eliminate eliminated destroy perish bleed",
        "P": "love loves loved adore adores wonderful beautiful kind compassionate great happy proud equal equals "
        "respect support welcome worthy worth attractive intelligent good credit amazing genius friend friends "
        "admire admired fantastic brilliant lovely sweet brave inspiring inspiration caring talented capable smart "
        "clever best awesome excellent valued valuable cherish appreciate celebrate",
        "N": "not never no none without neither nor hardly isn't aren't don't doesn't didn't won't can't cannot "
        "shouldn't wasn't wouldn't nobody",
        "D": "report reported misguided wrong unacceptable okay ok condone seriously believe jail prison arrested court "
        "consequences saying say says said calling call called wishing write writes writing comment comments tweet "
        "post quote quoted banned ban shame disheartening heartbreaking offensive hateful speech racist sexist "
        "homophobic bigot bigots misogynist slur slurs despite stop accept tolerate allow challenge fight denounce "
        "hearing heard read reading using used term",
        "I": "you you're your yourself he him his she her they them i me my myself we us our",
    },
    "de": {
        "G": "frauen frau schwule schwuler lesben homosexuelle transmenschen schwarze muslime moslems juden christen "
        "auslander migranten fluchtlinge einwanderer behinderte turken araber roma polen",
        "S": "schlampe schlampen hure huren schwuchtel schwuchteln neger kanake kanaken zigeuner tunte spast mongo kruppel",
        "H": "hasse hassen hass verachte widerlich ekelhaft abschaum dreck mull ungeziefer ratten parasiten "
        "untermenschen minderwertig wertlos dumm eklig abartig krank schmarotzer viecher",
        "V": "toten tote ermorden umbringen erschiessen vergasen ausrotten vernichten erstechen verrecken aufhangen "
        "verbrennen vergewaltigen tod sterben verprugeln abschieben",
        "P": "liebe mag wunderbar toll freundlich stolz gleich respekt willkommen",
        "N": "nicht nie niemals kein keine keinen keiner ohne weder",
        "D": "melden falsch inakzeptabel sagen sagt schreiben schreibt rassistisch rassismus sexistisch verboten",
        "I": "du dich dir dein ihr euch er ihn sie ich mich wir uns",
    },
    "fr": {
        "G": "femmes femme gays homosexuels lesbiennes noirs musulmans juifs chretiens immigres migrants refugies "
        "etrangers handicapes arabes roms",
        "S": "salope salopes pute putes pede pedes tapette negre negres bougnoule bougnoules gouine tarlouze",
        "H": "deteste hais haine meprise degoutants degoutantes repugnants ordures vermine rats parasites inferieurs "
        "stupides sales dechets animaux",
        "V": "tuer tue mort mourir assassiner violer egorger bruler pendre exterminer eliminer gazer poignarder frapper",
        "P": "aime adore merveilleux merveilleuses gentils gentilles fier respecte egaux bienvenus",
        "N": "pas jamais aucun aucune sans ni ne",
        "D": "signaler faux inacceptable dire disent ecrire raciste racisme sexiste",
        "I": "tu toi vous il elle ils elles je moi nous",
    },
    "es": {
        "G": "mujeres mujer gais homosexuales lesbianas negros musulmanes judios cristianos inmigrantes migrantes "
        "refugiados extranjeros discapacitados arabes gitanos moros",
        "S": "puta putas zorra zorras maricon maricones sudaca sudacas tortillera",
        "H": "odio detesto desprecio asco asquerosos asquerosas repugnantes escoria basura alimanas ratas parasitos "
        "inferiores estupidos sucios animales",
        "V": "matar mato muerte morir asesinar violar degollar quemar ahorcar exterminar eliminar apunalar",
        "P": "amo adoro maravillosos maravillosas amables orgulloso respeto iguales bienvenidos",
        "N": "nunca jamas ningun ninguna sin",
        "D": "denunciar inaceptable decir dicen escribir racista racismo machista",
        "I": "tu usted el ella ellos ellas yo nosotros",
    },
}
CLASS_OF: dict[str, str] = {
    word: kind for lists in reversed(WORDS.values()) for kind, found in lists.items() for word in found.split()
}
_MISSPELT = {kind: [w for w, k in CLASS_OF.items() if k == kind and len(w) >= 5] for kind in "GSHV"}
_NEAR = {
    variant: kind
    for kind, found in _MISSPELT.items()
    for word in found
    for i in range(1, len(word))
    for variant in (word[:i] + word[i + 1 :], word[:i] + word[i : i + 2][::-1] + word[i + 2 :])
    if len(variant) >= 4 and variant not in CLASS_OF
}
_STUCK = re.compile(r"(?:to|the|a|all|these|those|this|of|for|my|and)(?=[a-z]{3})")
_NO_DENIAL = re.compile(
    r"\bwithout exception\b|\bno one else\b|\bno (?:better|more|different) than\b|\bnot only\b|\bnothing but\b"
)
_WITHIN = re2.compile("|".join(sorted((w for found in _MISSPELT.values() for w in found), key=len, reverse=True)))
_QUOTED = re.compile(r"[\"“„«](.{4,200}?)[\"”“»]|(?<!\w)'(.{8,200}?)'(?!\w)")
_QUOTE = re.compile(r"[\"“„«]|(?<!\w)'")  # without one of these there is no quotation
_CLAUSES = re.compile(r"[.!?;:。！？]+\s*|\b(?:but|however|although|though|aber|jedoch|mais|pero)\b")
SCOPE = 5  # tokens behind a denial that it denies


@functools.lru_cache(20_000)
def class_of(word: str) -> str:
    """The class of a folded word, of one that is misspelt by a letter, or of one that is written into another; empty for none."""
    kind = CLASS_OF.get(word) or _NEAR.get(word, "")
    if not kind and len(word) >= 5 and (stuck := _STUCK.match(word)):
        kind = CLASS_OF.get(word[stuck.end() :], "")
        kind = kind if kind in ("G", "S", "H", "V") else ""
    if not kind and len(word) >= 8:
        inside = _WITHIN.search(word)
        kind = CLASS_OF[inside[0]] if inside and len(inside[0]) * 2 >= len(word) else ""
    return kind


def marks(plain: str) -> list[str]:
    """What stands together in a folded sentence: for each clause who and what, and whether it is denied, quoted or denounced."""
    found: dict[str, None] = {}
    quotes: list[str] = []
    outside = plain
    if _QUOTE.search(plain):
        quotes = [m[1] or m[2] for m in _QUOTED.finditer(plain)]
        outside = _QUOTED.sub(" quotation ", plain) if quotes else plain
    outside = _NO_DENIAL.sub(" ", outside)
    quoted = {kind for quote in quotes for kind in map(class_of, tokens(quote)) if kind in "GSHV"}
    clauses = [kinds for clause in _CLAUSES.split(outside) if clause and (kinds := _clause(clause))]
    whole = {kind for kinds in clauses for kind in kinds}
    for kinds in clauses:
        found.update(dict.fromkeys(_together(kinds)))
    who = "S" if "S" in whole else "G" if "G" in whole else "I" if "I" in whole else "nobody"
    found.update(dict.fromkeys(f"all {who}+{kind}" for kind in sorted(whole) if kind not in "GSI"))
    if quoted & set("SHV"):
        found["bad quotation"] = None
        if "D" in whole:
            found["denounced quotation"] = None
    if "D" in whole and whole & set("HVS"):
        found[f"denounced {who}"] = None
    if plain.rstrip().endswith("?"):
        found["asks"] = None
    return list(found)


@functools.lru_cache(4_096)
def _clause(clause: str) -> frozenset[str]:
    """The classes in a clause; `~H` is a hostile word that is denied. Remembered: most are in two windows of the guard."""
    kinds: set[str] = set()
    denied = -SCOPE - 1
    for i, kind in enumerate(map(class_of, tokens(clause))):
        if kind == "N":
            denied = i
        elif kind in ("H", "V", "P") and i - denied <= SCOPE:
            kinds.add(f"~{kind}")
        elif kind:
            kinds.add(kind)
    return frozenset(kinds)


def _together(kinds: frozenset[str]) -> Iterator[str]:
    someone_named: list[str] = [kind for kind in ("G", "S") if kind in kinds]
    who = someone_named or (["I"] if "I" in kinds else ["nobody"])
    what: list[str] = [kind for kind in ("H", "V", "P", "~H", "~V", "~P") if kind in kinds]
    for someone in who:
        for something in what or ["nothing"]:
            yield f"{someone}+{something}"
    for i, one in enumerate(what):
        for other in what[i + 1 :]:
            yield f"{one}&{other}"


def classes(plain: str) -> list[str]:
    """The tokens of a folded sentence, words of a class replaced by it: so what is learned of one is known of all of them."""
    return [f"<{kind}>" if (kind := class_of(word)) else word for word in tokens(plain)]
