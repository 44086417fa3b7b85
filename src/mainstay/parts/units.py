"""Units, currencies, months and small numbers as people write them in English, German, French, Spanish, Italian, Dutch,
Portuguese.

Everything is a table. A unit belongs to a dimension, in which it is so many of the smallest; what is written in one way for two
things (`$`, pounds) is both. Limits: what stands in no table is no unit, and a number before it counts something unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

Reading = tuple[str, Decimal]  # a dimension, and how many of its smallest unit one of these is

CURRENCIES = {
    "EUR": "€ eur euro euros",
    "USD": "$ us$ $us usd dollar dollars dólar dólares dollaro dollari us-dollar us-dollars",
    "GBP": "£ gbp pound pounds sterling pfund livre livres libra libras sterlina sterline pond",
    "CHF": "chf sfr fr franken franc francs franco francos franchi",
    "JPY": "¥ jpy yen",
    "CNY": "¥ cny rmb yuan renminbi",
    "SEK": "kr sek krona kronor kronen crowns",
    "NOK": "kr nok krone kroner kronen crowns",
    "DKK": "kr dkk krone kroner kronen crowns",
    "PLN": "zł pln zloty złoty zlotys",
    "CZK": "kč czk",
    "HUF": "ft huf forint",
    "BRL": "r$ brl real reais",
    "CAD": "$ c$ ca$ cad",
    "AUD": "$ a$ au$ aud",
    "NZD": "$ nz$ nzd",
    "MXN": "$ mx$ mxn peso pesos",
    "INR": "₹ inr rupee rupees rs",
    "TRY": "₺ try lira",
    "RUB": "₽ rub rubel ruble rubles",
    "KRW": "₩ krw won",
    "ZAR": "zar rand",
}
_CENTS = "cent cents ct cts céntimo céntimos centesimo centesimi cêntimo cêntimos centime centimes"

_UNITS: dict[str, dict[str, str]] = {
    "mass": {
        "0.001": "mg milligram milligrams milligramm milligramme milligrammes miligramo miligramos",
        "1": "g gram grams gramme grammes gramm gramo gramos grammo grammi grama gramas gr",
        "1000": "kg kgs kilo kilos kilogram kilograms kilogramm kilogramme kilogrammes kilogramo kilogramos chilo chili "
        "chilogrammi quilo quilos",
        "1000000": "t ton tons tonne tonnes tonnen tonelada toneladas tonnellata tonnellate",
        "453.59237": "lb lbs pound pounds",
        "28.349523125": "oz ounce ounces",
    },
    "length": {
        "0.001": "µm μm micron microns",
        "1": "mm millimetre millimetres millimeter millimeters millimètre millimètres milímetro milímetros millimetro millimetri",
        "10": "cm centimetre centimetres centimeter centimeters zentimeter centimètre centimètres centímetro centímetros "
        "centimetro centimetri",
        "1000": "m metre metres meter meters mètre mètres metro metros metri",
        "1000000": "km kms kilometre kilometres kilometer kilometers kilomètre kilomètres kilómetro kilómetros chilometro "
        "chilometri quilômetro quilômetros",
        "25.4": "inch inches zoll pouce pouces pulgada pulgadas pollice pollici polegada polegadas ″",
        "304.8": "ft foot feet",
        "914.4": "yd yard yards",
        "1609344": "mi mile miles",
    },
    "area": {"1": "m² m2 sqm", "0.0001": "cm² cm2", "10000": "ha hectare hectares hektar", "1000000": "km² km2"},
    "volume": {
        "1": "ml millilitre millilitres milliliter milliliters",
        "10": "cl centilitre centilitres zentiliter",
        "1000": "l litre litres liter liters litro litros litri",
        "1000000": "m³ m3",
    },
    "time": {
        "0.001": "ms millisecond milliseconds millisekunde millisekunden milliseconde millisecondes milisegundo "
        "milisegundos millisecondi",
        "1": "s sec secs second seconds sek sekunde sekunden seconde secondes segundo segundos secondo secondi seconden",
        "60": "min mins minute minutes minuten minuto minutos minuti minuut",
        "3600": "h hr hrs hour hours std stunde stunden heure heures hora horas ora ore uur uren",
        "86400": "d day days tag tage tagen jour jours día días dia dias giorno giorni dag dagen",
        "604800": "wk week weeks woche wochen semaine semaines semana semanas settimana settimane weken",
    },
    "months": {
        "1": "month months monat monate monaten mois mes meses mese mesi maand maanden mês",
        "3": "quarter quarters quartal quartale",
        "12": "yr yrs year years jahr jahre jahren an ans année années año años anno anni jaar jaren ano anos",
    },
    "working days": {
        "1": "business_days business_day working_days working_day werktag werktage werktagen arbeitstag arbeitstage arbeitstagen "
        "jours_ouvrables jours_ouvrés jour_ouvrable días_hábiles días_laborables día_hábil giorni_lavorativi giorno_lavorativo "
        "werkdag werkdagen dias_úteis dia_útil",
    },
    "%": {
        "1": "% percent per_cent prozent pour_cent por_ciento por_cento per_cento percento procent",
        "0.1": "‰",
    },
    "points": {"1": "percentage_points percentage_point prozentpunkte prozentpunkt"},
    "temperature C": {"1": "°c celsius grad"},
    "temperature F": {"1": "°f fahrenheit"},
    "angle": {"1": "°"},
    "data": {
        "1": "byte bytes",
        "1000": "kb kbyte",
        "1000000": "mb mbyte megabyte megabytes",
        "1000000000": "gb gbyte gigabyte gigabytes go",
        "1000000000000": "tb terabyte terabytes to",
        "1024": "kib",
        "1048576": "mib",
        "1073741824": "gib",
    },
    "rate": {"1000": "kbit/s kbps", "1000000": "mbit/s mbps", "1000000000": "gbit/s gbps"},
    "power": {"1": "w watt watts", "1000": "kw kilowatt", "1000000": "mw megawatt", "735.49875": "ps cv", "745.7": "hp"},
    "energy": {"1": "wh", "1000": "kwh", "1000000": "mwh"},
    "charge": {"1": "mah", "1000": "ah"},
    "voltage": {"1": "v volt volts", "1000": "kv"},
    "current": {"0.001": "ma", "1": "a amp amps ampere"},
    "frequency": {"1": "hz", "1000": "khz", "1000000": "mhz", "1000000000": "ghz"},
    "speed": {"1": "km/h kmh kph", "1.609344": "mph", "3.6": "m/s"},
    "nutrition": {"1": "kcal cal calories kalorien", "0.239": "kj"},
    "pixels": {"1": "px pixel pixels", "1000000": "mp megapixel megapixels"},
}
# Words that count, and say nothing else: twelve pieces are twelve.
COUNTED = frozenset(
    """piece pieces pc pcs item items unit units stück stk pièce pièces unité unités pieza piezas unidad unidades pezzo pezzi
    unità stuk stuks peça peças unidade unidades""".split()
)
# Words that are a unit only in this spelling: `5 to 6` are no terabytes.
_ONLY_AS_WRITTEN = {"go": "Go", "to": "To", "a": "A", "ft": "ft", "d": "d", "t": "t", "mi": "mi", "ha": "ha"}

SCALES = {
    **dict.fromkeys("k thousand tsd tausend mille mil mila duizend".split(), Decimal(1000)),
    **dict.fromkeys(
        "mn mln mio million millions millionen millón millones milione milioni miljoen milhão milhões".split(), Decimal(10**6)
    ),
    **dict.fromkeys(
        "bn mrd billion billions milliarde milliarden milliard milliards miliardo miliardi miljard".split(), Decimal(10**9)
    ),
}
ORDINALS = frozenset("st nd rd th er re e º ª ème eme nd de ste o a".split())

_SMALL = {
    "en": "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen "
    "twenty thirty forty fifty sixty seventy eighty ninety hundred",
    "de": "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn "
    "achtzehn neunzehn "
    "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert",
    "fr": "deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit "
    "dix-neuf vingt "
    "trente quarante cinquante soixante soixante-dix quatre-vingts quatre-vingt-dix cent",
    "es": "dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis diecisiete dieciocho "
    "diecinueve "
    "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa cien",
    "it": "due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici diciassette "
    "diciotto "
    "diciannove venti trenta quaranta cinquanta sessanta settanta ottanta novanta cento",
    "nl": "twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien zestien zeventien achttien "
    "negentien "
    "twintig dertig veertig vijftig zestig zeventig tachtig negentig honderd",
    "pt": "dois três quatro cinco seis sete oito nove dez onze doze treze catorze quinze dezesseis dezessete dezoito "
    "dezenove vinte "
    "trinta quarenta cinquenta sessenta setenta oitenta noventa cem",
}
# Second, third, …: what a passage may say where an answer says 2nd.
_ORDER = (
    "second zweite zweiten zweiter deuxième segundo segunda secondo seconda tweede",
    "third dritte dritten dritter troisième tercero tercera terzo terza derde terceiro terceira",
    "fourth vierte vierten vierter quatrième cuarto cuarta quarto quarta vierde",
    "fifth fünfte fünften fünfter cinquième quinto quinta vijfde",
    "sixth sechste sechsten sechster sixième sexto sexta sesto sesta zesde",
    "seventh siebte siebten siebter septième séptimo séptima settimo settima zevende sétimo sétima",
    "eighth achte achten achter huitième octavo octava ottavo ottava achtste oitavo oitava",
    "ninth neunte neunten neunter neuvième noveno novena nono nona negende",
    "tenth zehnte zehnten zehnter dixième décimo décima decimo decima tiende",
)
ORDER = {word: number for number, line in enumerate(_ORDER, 2) for word in line.split()}
_COUNTS = (*range(2, 21), *range(30, 101, 10))
SPELLED: dict[str, dict[str, int]] = {
    language: dict(zip(words.split(), _COUNTS, strict=True)) for language, words in _SMALL.items()
}

_MONTHS = (
    "january jan januar jänner janvier janv enero ene gennaio gen januari janeiro",
    "february feb februar février févr fév febrero febbraio febbr februari fevereiro fev",
    "march mar märz mrz mars marzo maart mrt março",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag mei maio",
    "june jun juni juin junio giugno giu junho",
    "july jul juli juillet juil julio luglio lug julho",
    "august aug août agosto ago augustus agos",
    "september sep sept septembre septiembre settembre set setembro",
    "october oct oktober okt octobre octubre ottobre ott outubro out",
    "november nov novembre noviembre novembro",
    "december dec dezember dez décembre déc diciembre dic dicembre dezembro",
)
MONTHS = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
SHORT_MONTHS = frozenset(
    {"mar", "may", "set", "out", "ago", "mag", "gen", "lug", "ene", "mars", "march", "dic"}
)  # other words too
DAYS = frozenset(
    """monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun montag dienstag mittwoch donnerstag
    freitag samstag sonnabend sonntag lundi mardi mercredi jeudi vendredi samedi dimanche lunes martes miércoles jueves viernes
    sábado domingo lunedì martedì mercoledì giovedì venerdì sabato domenica maandag dinsdag woensdag donderdag vrijdag zaterdag
    zondag segunda terça quarta quinta sexta""".split()
)


def _forms() -> Iterator[tuple[str, Reading]]:
    for code, words in CURRENCIES.items():
        for word in words.split():
            yield word, (code, Decimal(1))
    for word in _CENTS.split():
        yield word, ("EUR", Decimal("0.01"))
        yield word, ("USD", Decimal("0.01"))
    for dimension, sizes in _UNITS.items():
        for size, words in sizes.items():
            for word in words.split():
                yield word.replace("_", " "), (dimension, Decimal(size))


def _table() -> dict[str, tuple[Reading, ...]]:
    table: dict[str, tuple[Reading, ...]] = {}
    for word, reading in _forms():
        table[word] = (*table.get(word, ()), reading)
    return table


TABLE = _table()


def readings(written: str) -> tuple[Reading, ...]:
    """What a unit or currency may be, as it is written; nothing where it is none.

    >>> [dimension for dimension, _ in readings("kg")], readings("euros")[0][0]
    (['mass'], 'EUR')
    """
    folded = written.casefold()
    exact = _ONLY_AS_WRITTEN.get(folded)
    if exact is not None and exact != written:
        return ()
    return TABLE.get(folded, ())


def dimension(unit: str) -> Reading:
    """What a declared unit (`EUR`, `kg`) is; one that stands in no table is a dimension of its own, and a counting word is
    none.
    """
    if not unit or unit.casefold() in COUNTED:
        return "", Decimal(1)
    found = readings(unit) or TABLE.get(unit.casefold(), ())
    return found[0] if found else (unit.casefold(), Decimal(1))
