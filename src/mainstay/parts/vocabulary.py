"""Words by which a sentence says what a fact in it is: of which slot, of something else, or that it is not so.

Short lists in English, German, French, Spanish, Italian, Dutch and Portuguese. Limits: a sentence that says it in other words
says nothing here.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_WORD = re.compile(r"[^\W\d_]+")

# What slots are usually called, and the words for it in answers, in each language.
_LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pt")
_LABELS = (
    "price prices priced cost costs costing pay | preis preise kostet kosten kostete | prix coûte coûtent coût tarif | "
    "precio precios cuesta cuestan costo coste | prezzo prezzi costa costano costo | prijs prijzen kost kosten | "
    "preço preços custa custam custo",
    "total sum amount | summe gesamtbetrag gesamt betrag | somme montant total | importe suma total | importo totale | "
    "bedrag totaal | valor total",
    "stock available availability inventory | bestand lager lagernd vorrätig verfügbar | stock disponible disponibles | "
    "stock existencias disponible disponibles | disponibile disponibili giacenza magazzino | voorraad beschikbaar | "
    "estoque disponível disponíveis",
    "quantity count number | menge anzahl | quantité nombre | cantidad número | quantità numero | aantal hoeveelheid | "
    "quantidade número",
    "weight weighs weigh | gewicht wiegt | poids pèse | peso pesa pesan | peso pesa | gewicht weegt | peso pesa",
    "delivery delivered comes arrive arrives arrival | kommt lieferung geliefert liefertermin lieferdatum zugestellt | "
    "arrive livraison livré livrée | entrega entregado entregada llega | arriva consegna consegnato consegnata | "
    "komt levering geleverd bezorgd | entrega entregue chega",
    "due deadline | fällig fälligkeit frist | échéance | vence vencimiento | scade scadenza | vervaldatum vervalt | "
    "vence vencimento",
    "order ordered | bestellung bestellt | commande commandé | pedido | ordine ordinato | bestelling besteld | encomenda pedido",
    "version release | version fassung | version | versión | versione | versie | versão",
    "balance | saldo kontostand guthaben | solde | saldo | saldo | saldo | saldo",
    "discount | rabatt nachlass | remise réduction | descuento | sconto | korting | desconto",
    "warranty guarantee | garantie gewährleistung | garantie | garantía | garanzia | garantie | garantia",
    "manager contact agent advisor | ansprechpartner ansprechpartnerin berater beraterin betreuer | "
    "contact conseiller conseillère | contacto asesor asesora gerente | referente consulente | "
    "contact contactpersoon adviseur | contato gerente",
    "date day | datum tag | date jour | fecha | data | datum | data",
    "rate interest | zins zinssatz zinsen | taux | tasa | tasso | rente | taxa",
    "length long | länge lang | longueur long | longitud | lunghezza | lengte lang | comprimento",
    "height high | höhe hoch | hauteur | altura | altezza | hoogte | altura",
    "width wide | breite breit | largeur | anchura | larghezza | breedte | largura",
)
# Amounts of money that are not the price of the thing itself, and the past.
_ELSE = frozenset(
    """shipping delivery postage versand versandkosten lieferkosten lieferung porto livraison envío spedizione verzending
    verzendkosten envio frete tax vat mwst steuer tva iva btw imposto deposit kaution pfand anzahlung caution acompte depósito
    cauzione borg fee fees gebühr gebühren frais comisión commissione discount rabatt remise descuento sconto korting desconto
    voucher gutschein bon vale refund was were formerly previously originally before old früher vorher bisher statt zuvor
    ehemals war avant ancien auparavant antes anterior prima precedente era eerder voorheen vroeger threshold minimum
    mindestbestellwert installment rate raten""".split()
)
# Words that begin a sentence with a capital and are no part of a name.
_SMALL = (
    "the a an this that these those my your our his her its their we you he she it they if when while for in on at to "
    "from by with as "
    "and or but not no yes please there here what who how why which where all both each every some any more most after "
    "before until "
    "since so then also unfortunately however currently ask call contact see use "
    "der die das den dem des ein eine einen einem einer dieser diese dieses diesen ihr ihre ihren ihrem ihrer unser "
    "unsere unseren wir "
    "sie er es wenn für in im am an auf bei bis von vom mit nach seit zu zum zur aus und oder aber nicht nein ja bitte "
    "hier dort was "
    "wer wie warum wo alle leider derzeit momentan aktuell sehr "
    "le la les un une des ce cet cette ces votre vos notre nos il elle nous vous ils elles si pour dans sur chez avec et "
    "ou mais non oui "
    "el los las una este esta estos su sus nuestro nuestra si para en con por y o pero no sí il lo gli i uno questo "
    "questa suo sua per "
    "su di da e ma se het een deze dit uw onze wij u als voor op met van en of maar nee ja o os as um uma este esta seu "
    "sua para em com "
    "por e mas não sim se"
)
_NOT = re.compile(
    r"(?i)\b(?:not|cannot|never|nicht|kein\w*|nie|niemals|pas|jamais|nunca|niet|geen|nooit|não)\b|n[’']t\b|"
    r"\b(?:no|non)\b(?!,|\.? ?\d)"
)
_SPOKEN = {
    "en": "the is and of to it for with your you are this that costs",
    "de": "der die das und ist sind noch auf hat haben kann wird werden nicht ein eine für mit auf sie wir ihr ihre zu "
    "den dem im von kostet beträgt heißt wird",
    "fr": "le les est et du des une pour avec vous votre coûte sur dans nous",
    "es": "el los las es y una para con su usted cuesta por del",
    "it": "il gli è e di una per con suo costa della sono",
    "nl": "het een is en van voor met uw kost dat op zijn",
    "pt": "os é e uma para com seu custa da do são",
}
_SPEAKERS: dict[str, list[str]] = {}  # each of these words, and the languages that it is from
for _language, _line in _SPOKEN.items():
    for _word in _line.split():
        _SPEAKERS.setdefault(_word, []).append(_language)


def folded(text: str) -> str:
    """Without case and accents.

    >>> folded("Coûte")
    'coute'
    """
    plain = text.casefold()
    if plain.isascii():
        return plain
    return "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))


def words(text: str) -> list[str]:
    """The words of a text, folded, in its order."""
    return _WORD.findall(folded(text))


LABELS = tuple([frozenset(words(line)) for line in _LABELS])
SPEAKING = {
    language: frozenset(word for line in _LABELS for word in words(line.split("|")[place]))
    for place, language in enumerate(_LANGUAGES)
}
SMALL = frozenset(words(_SMALL))
ELSE = frozenset(words(" ".join(_ELSE)))


def labels(name: str) -> frozenset[str]:
    """The words by which a sentence speaks of a slot of this name: its own, and what they are in the languages above.

    >>> "kostet" in labels("unit_price")
    True
    """
    own = [word for word in words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ")) if len(word) > 2]
    found = set(own)
    for word in own:
        for group in LABELS:
            if word in group:
                found |= group
    return frozenset(found)


def says_not(sentence: str) -> bool:
    """Whether something in a sentence is denied."""
    return _NOT.search(sentence) is not None


def language_of(sentence: str, otherwise: str = "") -> str:
    """The language that most of its smallest words are from, as `de`; what is given `otherwise` where that does not tell.

    >>> language_of("Der Preis ist gut.")
    'de'
    """
    found = _WORD.findall(sentence)
    plain = [word.casefold() for i, word in enumerate(found) if not i or not word[0].isupper()]  # a name is of no language
    counts = Counter(language for word in plain for language in _SPEAKERS.get(word, ()))
    leading = counts.most_common(2)
    if not leading or (len(leading) == 2 and leading[0][1] == leading[1][1]):
        return otherwise
    return leading[0][0]
