"""Which language a text is probably in, and which of its words say nothing about its subject: enough to search by.

The guess rests on the script, and among languages of one script on their commonest words; it is meant for questions and
passages, not for single words, and says nothing where it does not know. Function words are short lists that were written by
hand: articles, pronouns, prepositions, auxiliaries, and the words that questions begin with.

Limits: languages that share a script and are not listed are taken for unknown, or for their nearest relative.
"""

from __future__ import annotations

import re
import unicodedata

_LISTS = {
    "de": """aber alle allem als also am an auch auf aus bei beim bin bis bitte bist da dann das dass dein deine dem den denn der des
        die dies diese dieser doch du durch ein eine einem einen einer eines er es etwas für gegen gibt hab habe haben hat hatte
        hier ich ihr ihre ihrer ihn ihnen im in ins ist ja kann kannst können könnte man mein meine mich mir mit muss müssen nach
        nicht noch nur ob oder ohne sein seine sich sie sind so soll sollte über um und uns unser unter vom von vor wann war waren
        warum was weil welche welchem welchen welcher welches wem wen wenn wer werde werden wie wieso wird wo wodurch wofür woher
        wohin wollen worden wurde wurden zu zum zur zwischen""",
    "fr": """a ai alors as au aux avait avec avez avoir ce cela celle celui ces cet cette chez combien comme comment d dans de des
        deux donc dont du elle elles en entre es est et était été être eu fait faire faut il ils j je l la laquelle le lequel les
        lesquelles lesquels leur leurs lors m ma mais me mes moi mon n ne nos notre nous on ont ou où par pas pendant peut peux plus
        pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa sans se sera ses si son sont sous sur t ta te tes ton
        tous tout très tu un une vos votre vous y""",
    "es": """a al algo ante aquel así aún como cómo con cuál cuáles cualquier cuando cuándo cuánta cuántas cuánto cuántos de del
        desde donde dónde dos e el él ella ellas ellos en entre era eran es esa ese eso está están esta estas este esto estos fue
        fueron ha había han hasta hay la las le les lo los más me mi mis mucho muy nos o otra otro para pero por porque puede puedo
        que qué quien quién quienes quiénes se sea según ser si sin sino sobre son su sus también te tiene tienen tu tus un una unas
        uno unos y ya yo""",
    "it": """a ad agli ai al alla alle allo anche che chi ci come con così cosa cui da dal dalla dalle dei del della delle dello di
        dopo dove due e è ed era erano essere fa fu gli ha hanno ho i il in io la le lei li lo loro lui ma me mi mio molto ne nei
        nel nella nelle no noi non o ogni per perché più poi posso può qual quale quali quando quanti quanto quella quello questa
        questo qui se sei senza si sia sono su sua sue sui sul sulla suo suoi tra tu tutti un una uno vi voi""",
    "pt": """a à ao aos aquele as até com como da das de dela dele deles depois do dos e é ela elas ele eles em entre era eram essa
        esse esta está estão este eu foi foram há isso isto já lhe mais mas me meu minha muito na não nas nem no nos nós num numa o
        onde os ou para pela pelas pelo pelos por porque posso pode quais qual quando quanto quantos que quê quem são se sem ser seu
        seus só sua suas também te tem têm um uma você""",
    "nl": """aan al als bij dan dat de der deze die dit doen door dus een en er ge geen haar had heb hebben heeft het hem hier hij
        hoe hoeveel hun ik in is ja je jij jullie kan kunnen maar me meer men met mij mijn moet na naar niet nog nu of om omdat ons
        onder ook op over te tegen tot u uit uw van veel voor waar waarom wanneer want was wat we welk welke werd wie wij worden
        wordt zal ze zich zij zijn zo zonder zou""",
    "ro": """a ai al ale am ar are as asupra au avea ca că care cărei căror ce cea cei cel cele cine când cât câte câți cu cum da
        dacă de decât despre din dintre dintr doar după ea ei el ele era erau este eu fi fiind fost în între într îi își l la le lor
        lui mai mult ne nu noi o ori pe pentru prin printr s sa sale sau său se si și sub sunt te to toate tot tu un una unde unei
        unor unui va vă vor""",
    "tr": """acaba ama ancak bana bazı ben beni benim bir biri birkaç biz bu bunu bunun çok çünkü da daha de değil diye en gibi göre
        ha hangi hangisi hem hep her hiç için ile ilgili ise kaç kadar ki kim kime kimin mı mi mu mü mıdır midir mudur ne neden
        nedir nerede nereye nasıl ne o olan olarak oldu olduğu olur on ona onlar onu onun sen siz sonra şey şu tarafından tüm var
        ve veya ya yani yok zaman""",
    "pl": """a aby ale bo być był była było były by ci co czy czyli dla do gdy gdzie go i ich ile im ja jak jaka jaki jakie jako je
        jego jej jest jestem już kiedy kto która które którego której który których którym lub ma mam mi mnie może można my na nad
        nie niż o od on ona one oni oraz po pod przez przy są się sobie swoje ta tak także tam te tego tej ten to tu tym w we więc
        wszystko z za ze że""",
    "vi": """ai bao bạn bị bởi các cách cái cần chỉ cho có của cùng cũng đã đang để đến đi điều đó đâu được gì hay khi không là làm
        lại lên mà mấy mình một nào này nên nếu như nhiều nhưng những ở phải qua ra rất sao sẽ tại theo thì tôi trên trong từ và vào
        về với việc vậy vì""",
    "id": """ada adalah akan anda apa apakah atau bagaimana bagi bahwa banyak berapa bisa dalam dan dapat dari dengan di dia hanya
        harus ini itu jika juga kami kapan karena ke kepada kita lebih mana mereka oleh pada saat saja sangat saya sebagai sebuah
        secara seperti siapa suatu sudah tidak telah tentang tersebut untuk yang""",
    "sv": """alla allt att av bara de dem den denna det detta dig din du där efter eller en ett från för ha hade han har hon hur här
        i in inte jag kan man med men mig min mot mycket när nej ni något några och om oss på sig ska som så till upp under ut utan
        vad var varför varit vem vi vid vilka vilken vilket vill är över""",
    "ru": """а без бы был была были было быть в вам вас ваш весь во вот все всех вы где да даже для до его ее её если есть еще ещё же
        за и из или им их к как какая какие каким каков какова какое какой каком какую ко когда который которая которого которое
        которой которые которых кто куда ли меня мне мой может можно моя мы на над надо нам нас наш не него нее нет ни них но о об
        однако он она они оно от откуда очень по под после почему при про с сколько со так также такое там то того тоже только том
        ты у уже чего чей чем что чтобы чья эта эти это этого этой этом этот я""",
    "uk": """а або але б би був була були було бути в вам вас ви від він вона вони воно все всі де для до є з за зі й його її із
        їх ким коли кому куди ли ми мене мені може можна на над нам нас наш не ні ній них о перед по при про саме скільки та так
        також там те ти тільки то того тому у хто це цей ці цього чи чия чий чому що щоб як яка який яких які яку я""",
    "el": """αλλα αν αντι απο αυτα αυτες αυτη αυτο αυτοι αυτος αυτου αυτων για δε δεν ειμαι ειναι εκεινος ενα ενας ενος εχει εχουν
        εχω η ηταν θα και κατα κι μα με μερικοι μετα μη μην μια μιας μου μπορει μπορω να ο οι οπου οποια οποιο οποιος οποιοι οταν
        οτι ουτε παρα περι πια ποια ποιες ποιο ποιοι ποιον ποιος ποιου ποιων ποσα ποσες πόσο ποσο ποσοι ποτε που πριν προς πως σαν
        σας σε στη στην στης στις στο στον στου στους των τα τη την της τι τις το τον τοσο του τους υπο ως""",
    "ar": """أن إن أي أية إلى الذي التي الذين اللذان هذا هذه ذلك تلك هو هي هم هن نحن أنا أنت كان كانت كانوا يكون تكون ليس ما ماذا من
        متى أين كيف كم لماذا لما هل لم لن لا عن على عند في مع بين بعد قبل حتى ثم أو أم و قد لقد كل بعض غير منذ خلال حيث كما مثل
        ب ل ك ف به بها له لها لهم فيه فيها عليه عليها منه منها إذا لكن تم يتم التى الى""",
    "fa": """از است اند این آن با بر برای به بود بودند تا چرا چطور چگونه چند چه چی خود در را شد شده کجا که کدام کسی کی ما من می
        نمی نیست و ها های هر هم همه یا یک""",
    "hi": """अपना अपनी अपने आप इन इस इसके इसमें उन उनके उस उसके एक एवं और कब कर करता करते करना करने का कि कितना कितनी कितने किन किस
        किसका किसकी किसके किसने किसी की कुछ के को कोई कौन कौनसा क्या क्यों गई गए गया जब जा जाता जाती जाते जो तक तथा तो था थी थे द्वारा
        दो नहीं ने पर भी मे में मैं यदि यह या ये रहा रही रहे लिए वह वाला वाली वाले वे सकता सकते सभी साथ से हम हुआ हुई हुए है हैं हो
        होता होती होते कहाँ कहां कैसे कैसा कैसी""",
    "he": """את של על עם אל מן כי לא זה זו זאת הוא היא הם הן אני אתה אנחנו מה מי איך איפה מתי למה כמה האם יש אין גם או אם רק כל
        היה היתה היו להיות בין עד אחרי לפני""",
    "ko": """그 이 저 것 수 등 및 또는 그리고 무엇 무엇을 무엇이 누가 누구 언제 어디 어디서 어디에 어떻게 어떤 왜 얼마나 몇 무슨 어느 있는 있습니까 입니까
        합니까 하는 한 할 인가 인가요 나요""",
}
_ASKED = {  # what questions are made of where words are not set apart; taken out before the text is cut into pieces
    "zh": """什么时候 什么 什麼 甚么 多少 哪里 哪裡 哪些 哪个 哪個 哪一 哪种 怎么样 怎么办 怎么 怎麼 怎样 如何 为什么 为何 为什麼 是否 是不是 能不能
        可不可以 可以 何时 何地 请问 請問 我们 你们 他们 她们 它们 我的 你的 他的 她的 吗 嗎 呢 吧 谁 誰""",
    "ja": """ですか ますか でしょうか ませんか ましたか ください について における によって とは どのように どのような どうやって どれくらい どのくらい
        いくつ いくら どこ いつ だれ 誰 なぜ どの どう 何""",
    "th": """อะไรบ้าง อะไร เท่าไร เท่าไหร่ ที่ไหน อย่างไร ยังไง ทำไม เมื่อไร เมื่อไหร่ เมื่อใด ใคร หรือไม่ ใช่ไหม ได้ไหม กี่ ไหน ใด ครับ ค่ะ คะ""",
}
_SCRIPTS = [  # the first that half of the letters are of
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("zh", re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")),
    ("ko", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("th", re.compile(r"[\u0e01-\u0e4e]")),
    ("hi", re.compile(r"[\u0900-\u0963]")),
    ("el", re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
]
_MARKS = re.compile(r"[\u0300-\u036f\u0591-\u05c7\u064b-\u0652\u0670\u0640]")  # accents, points, and the Arabic stretch
_VIETNAMESE = re.compile(r"[\u1ea0-\u1ef9đơưĐƠƯ]")
_LETTERS = re.compile(r"[^\W\d_]")
_WORDS = re.compile(r"[\w\u0900-\u0963]+")
SAMPLE = 2000  # characters of a text by which it is guessed
_KIN = {"ar": ("ar", "fa"), "ru": ("ru", "uk"), "el": ("el",), "hi": ("hi",), "he": ("he",), "ko": ("ko",)}


def folded(text: str, *, accents: bool = False) -> str:
    """A text as it is compared: case folded, compatible forms made one, and without accents unless they are asked for.

    >>> folded("Ｃafé İZMİR")
    'cafe izmir'
    """
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", text.casefold())
    if not accents:
        text = _MARKS.sub("", text).replace("ı", "i").replace("đ", "d").replace("ø", "o").replace("ł", "l")
    return unicodedata.normalize("NFC", text)


FUNCTION_WORDS = {
    language: frozenset(form for word in words.split() for form in (folded(word), folded(word, accents=True)))
    for language, words in _LISTS.items()
}
_OTHER = {language: words for language, words in FUNCTION_WORDS.items() if language not in {k for kin in _KIN.values() for k in kin}}
_ENGLISH = frozenset(
    """a about an and any are as at be been but by can could did do does for from had has have how i if in into is it its may my not
    of on or our should so than that the their there these they this to was we were what when where which who whom whose why will
    with would you your""".split()
)
_ASKING = {language: re.compile("|".join(re.escape(p) for p in phrases.split())) for language, phrases in _ASKED.items()}


def guess(text: str) -> str:
    """The language that a text is probably in (ISO 639-1); empty where that cannot be said.

    >>> guess("Wie lange habe ich Zeit?"), guess("退货需要多长时间？"), guess("invoice 4711")
    ('de', 'zh', '')
    """
    text = text[:SAMPLE]
    if text.isascii():
        return _by_words(text)
    letters = len(_LETTERS.findall(text))
    counts = [(language, len(pattern.findall(text))) for language, pattern in _SCRIPTS]
    found = max(counts, key=lambda entry: entry[1])
    if dict(counts)["ja"] * 10 > found[1] > 0:
        return "ja"
    if found[1] * 2 < letters or not found[1]:
        return "vi" if _VIETNAMESE.search(text) and len(_VIETNAMESE.findall(text)) * 12 > letters else _by_words(text)
    kin = _KIN.get(found[0])
    return found[0] if kin is None or len(kin) == 1 else _most(text, {k: FUNCTION_WORDS[k] for k in kin}) or found[0]


def _by_words(text: str) -> str:
    return _most(text, {"en": _ENGLISH, **_OTHER})


def _most(text: str, lists: dict[str, frozenset[str]]) -> str:
    """The language most of whose function words occur, if any do; of two with as many, none."""
    words = _WORDS.findall(folded(text, accents=True))
    counts = sorted(((sum(word in known for word in words), language) for language, known in lists.items()), reverse=True)
    return counts[0][1] if counts[0][0] > counts[1][0] else ""


def without_asking(text: str, language: str) -> str:
    """A question in a language that sets no words apart, without what makes it a question."""
    pattern = _ASKING.get(language)
    return text if pattern is None else pattern.sub(" ", text)
