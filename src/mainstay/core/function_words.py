"""Short lists of words by language (ISO 639-1), written by hand for `core/languages.py`."""

# Articles, pronouns, prepositions, auxiliaries, and the words that questions begin with.
FUNCTION_WORDS = {
    "de": """aber alle allem als also am an auch auf aus bei beim bin bis bitte bist da dann das dass dein deine dem den
        denn der des die dies diese dieser doch du durch ein eine einem einen einer eines er es etwas für gegen gibt
        hab habe haben hat hatte hier ich ihr ihre ihrer ihn ihnen im in ins ist ja kann kannst können könnte man mein
        meine mich mir mit muss müssen nach nicht noch nur ob oder ohne sein seine sich sie sind so soll sollte über
        um und uns unser unter vom von vor wann war waren warum was weil welche welchem welchen welcher welches wem
        wen wenn wer werde werden wie wieso wird wo wodurch wofür woher wohin wollen worden wurde wurden zu zum zur
        zwischen""",
    "fr": """a ai alors as au aux avait avec avez avoir ce cela celle celui ces cet cette chez combien comme comment d dans
        de des deux donc dont du elle elles en entre es est et était été être eu fait faire faut il ils j je l la
        laquelle le lequel les lesquelles lesquels leur leurs lors m ma mais me mes moi mon n ne nos notre nous on ont
        ou où par pas pendant peut peux plus pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa sans
        se sera ses si son sont sous sur t ta te tes ton tous tout très tu un une vos votre vous y""",
    "es": """a al algo ante aquel así aún como cómo con cuál cuáles cualquier cuando cuándo cuánta cuántas cuánto cuántos
        de del desde donde dónde dos e el él ella ellas ellos en entre era eran es esa ese eso está están esta estas
        este esto estos fue fueron ha había han hasta hay la las le les lo los más me mi mis mucho muy nos o otra otro
        para pero por porque puede puedo que qué quien quién quienes quiénes se sea según ser si sin sino sobre son su
        sus también te tiene tienen tu tus un una unas uno unos y ya yo""",
    "it": """a ad agli ai al alla alle allo anche che chi ci come con così cosa cui da dal dalla dalle dei del della delle
        dello di dopo dove due e è ed era erano essere fa fu gli ha hanno ho i il in io la le lei li lo loro lui ma me
        mi mio molto ne nei nel nella nelle no noi non o ogni per perché più poi posso può qual quale quali quando
        quanti quanto quella quello questa questo qui se sei senza si sia sono su sua sue sui sul sulla suo suoi tra
        tu tutti un una uno vi voi""",
    "pt": """a à ao aos aquele as até com como da das de dela dele deles depois do dos e é ela elas ele eles em entre era
        eram essa esse esta está estão este eu foi foram há isso isto já lhe mais mas me meu minha muito na não nas
        nem no nos nós num numa o onde os ou para pela pelas pelo pelos por porque posso pode quais qual quando quanto
        quantos que quê quem são se sem ser seu seus só sua suas também te tem têm um uma você""",
    "nl": """aan al als bij dan dat de der deze die dit doen door dus een en er ge geen haar had heb hebben heeft het hem
        hier hij hoe hoeveel hun ik in is ja je jij jullie kan kunnen maar me meer men met mij mijn moet na naar niet
        nog nu of om omdat ons onder ook op over te tegen tot u uit uw van veel voor waar waarom wanneer want was wat
        we welk welke werd wie wij worden wordt zal ze zich zij zijn zo zonder zou""",
    "ro": """a ai al ale am ar are as asupra au avea ca că care cărei căror ce cea cei cel cele cine când cât câte câți cu
        cum da dacă de decât despre din dintre dintr doar după ea ei el ele era erau este eu fi fiind fost în între
        într îi își l la le lor lui mai mult ne nu noi o ori pe pentru prin printr s sa sale sau său se si și sub sunt
        te to toate tot tu un una unde unei unor unui va vă vor""",
    "tr": """acaba ama ancak bana bazı ben beni benim bir biri birkaç biz bu bunu bunun çok çünkü da daha de değil diye en
        gibi göre ha hangi hangisi hem hep her hiç için ile ilgili ise kaç kadar ki kim kime kimin mı mi mu mü mıdır
        midir mudur ne neden nedir nerede nereye nasıl ne o olan olarak oldu olduğu olur on ona onlar onu onun sen siz
        sonra şey şu tarafından tüm var ve veya ya yani yok zaman""",
    "pl": """a aby ale bo być był była było były by ci co czy czyli dla do gdy gdzie go i ich ile im ja jak jaka jaki jakie
        jako je jego jej jest jestem już kiedy kto która które którego której który których którym lub ma mam mi mnie
        może można my na nad nie niż o od on ona one oni oraz po pod przez przy są się sobie swoje ta tak także tam te
        tego tej ten to tu tym w we więc wszystko z za ze że""",
    "vi": """ai bao bạn bị bởi các cách cái cần chỉ cho có của cùng cũng đã đang để đến đi điều đó đâu được gì hay khi
        không là làm lại lên mà mấy mình một nào này nên nếu như nhiều nhưng những ở phải qua ra rất sao sẽ tại theo
        thì tôi trên trong từ và vào về với việc vậy vì""",
    "id": """ada adalah akan anda apa apakah atau bagaimana bagi bahwa banyak berapa bisa dalam dan dapat dari dengan di
        dia hanya harus ini itu jika juga kami kapan karena ke kepada kita lebih mana mereka oleh pada saat saja
        sangat saya sebagai sebuah secara seperti siapa suatu sudah tidak telah tentang tersebut untuk yang""",
    "sv": """alla allt att av bara de dem den denna det detta dig din du där efter eller en ett från för ha hade han har
        hon hur här i in inte jag kan man med men mig min mot mycket när nej ni något några och om oss på sig ska som
        så till upp under ut utan vad var varför varit vem vi vid vilka vilken vilket vill är över""",
    "ru": """а без бы был была были было быть в вам вас ваш весь во вот все всех вы где да даже для до его ее её если есть
        еще ещё же за и из или им их к как какая какие каким каков какова какое какой каком какую ко когда который
        которая которого которое которой которые которых кто куда ли меня мне мой может можно моя мы на над надо нам
        нас наш не него нее нет ни них но о об однако он она они оно от откуда очень по под после почему при про с
        сколько со так также такое там то того тоже только том ты у уже чего чей чем что чтобы чья эта эти это этого
        этой этом этот я""",
    "uk": """а або але б би був була були було бути в вам вас ви від він вона вони воно все всі де для до є з за зі й його
        її із їх ким коли кому куди ли ми мене мені може можна на над нам нас наш не ні ній них о перед по при про
        саме скільки та так також там те ти тільки то того тому у хто це цей ці цього чи чия чий чому що щоб як яка
        який яких які яку я""",
    "el": """αλλα αν αντι απο αυτα αυτες αυτη αυτο αυτοι αυτος αυτου αυτων για δε δεν ειμαι ειναι εκεινος ενα ενας ενος
        εχει εχουν εχω η ηταν θα και κατα κι μα με μερικοι μετα μη μην μια μιας μου μπορει μπορω να ο οι οπου οποια
        οποιο οποιος οποιοι οταν οτι ουτε παρα περι πια ποια ποιες ποιο ποιοι ποιον ποιος ποιου ποιων ποσα ποσες πόσο
        ποσο ποσοι ποτε που πριν προς πως σαν σας σε στη στην στης στις στο στον στου στους των τα τη την της τι τις
        το τον τοσο του τους υπο ως""",
    "ar": """أن إن أي أية إلى الذي التي الذين اللذان هذا هذه ذلك تلك هو هي هم هن نحن أنا أنت كان كانت كانوا يكون تكون ليس
        ما ماذا من متى أين كيف كم لماذا لما هل لم لن لا عن على عند في مع بين بعد قبل حتى ثم أو أم و قد لقد كل بعض غير
        منذ خلال حيث كما مثل ب ل ك ف به بها له لها لهم فيه فيها عليه عليها منه منها إذا لكن تم يتم التى الى""",
    "fa": """از است اند این آن با بر برای به بود بودند تا چرا چطور چگونه چند چه چی خود در را شد شده کجا که کدام کسی کی ما
        من می نمی نیست و ها های هر هم همه یا یک""",
    "hi": """अपना अपनी अपने आप इन इस इसके इसमें उन उनके उस उसके एक एवं और कब कर करता करते करना करने का कि कितना कितनी कितने
        किन किस किसका किसकी किसके किसने किसी की कुछ के को कोई कौन कौनसा क्या क्यों गई गए गया जब जा जाता जाती जाते जो
        तक तथा तो था थी थे द्वारा दो नहीं ने पर भी मे में मैं यदि यह या ये रहा रही रहे लिए वह वाला वाली वाले वे सकता
        सकते सभी साथ से हम हुआ हुई हुए है हैं हो होता होती होते कहाँ कहां कैसे कैसा कैसी""",
    "he": """את של על עם אל מן כי לא זה זו זאת הוא היא הם הן אני אתה אנחנו מה מי איך איפה מתי למה כמה האם יש אין גם או אם
        רק כל היה היתה היו להיות בין עד אחרי לפני""",
    "ko": """그 이 저 것 수 등 및 또는 그리고 무엇 무엇을 무엇이 누가 누구 언제 어디 어디서 어디에 어떻게 어떤 왜 얼마나 몇
        무슨 어느 있는 있습니까 입니까 합니까 하는 한 할 인가 인가요 나요""",
}
# What questions are made of where words are not set apart; taken out before the text is cut into pieces.
ASKED = {
    "zh": """什么时候 什么 什麼 甚么 多少 哪里 哪裡 哪些 哪个 哪個 哪一 哪种 怎么样 怎么办 怎么 怎麼 怎样 如何 为什么 为何
        为什麼 是否 是不是 能不能 可不可以 可以 何时 何地 请问 請問 我们 你们 他们 她们 它们 我的 你的 他的 她的 吗 嗎
        呢 吧 谁 誰""",
    "ja": """ですか ますか でしょうか ませんか ましたか ください について における によって とは どのように どのような
        どうやって どれくらい どのくらい いくつ いくら どこ いつ だれ 誰 なぜ どの どう 何""",
    "th": """อะไรบ้าง อะไร เท่าไร เท่าไหร่ ที่ไหน อย่างไร ยังไง ทำไม เมื่อไร เมื่อไหร่ เมื่อใด ใคร หรือไม่ ใช่ไหม ได้ไหม
        กี่ ไหน ใด ครับ ค่ะ คะ""",
}
# What refers to something said before (with `$` only at the end), and what a question begins with that goes on from another.
BACK = {
    "en": (
        """it its they them their theirs this$ these$ those$ that$ there$ ones one$ he him his she her$""",
        """and|but|or|what about|how about|then|also|what if""",
    ),
    "de": (
        """davon dafür damit darauf daran dazu dabei dort$ deren dessen das$ es$ er$ sie$ ihn$ ihm ihnen diese$
        dieser$ dieses$""",
        """und|aber|oder|was ist mit|wie ist es mit|wie sieht es|dann|auch|gilt das""",
    ),
    "fr": (
        """il$ elle$ ils$ elles$ lui$ leur$ en$ ça cela celui celle ceux celles ce$""",
        """et|mais|ou|qu en est il|alors|aussi""",
    ),
    "es": (
        """él ella ellos ellas eso esto allí ello ese$ esa$ esos$ esas$ lo$ la$""",
        """y|e|pero|o|qué hay de|qué pasa con|entonces|también""",
    ),
    "it": (
        """esso essa essi ne$ ciò lì questo$ questa$ quello$ quella$""",
        """e|ed|ma|o|che ne dici|allora|anche|invece""",
    ),
    "pt": (
        """ele ela eles elas isso isto aquilo lá disso nele esse$ essa$""",
        """e|mas|ou|então|também|que tal""",
    ),
    "nl": (
        """hem haar daar ervan daarvan daarvoor hun$ dat$ dit$ die$ het$""",
        """en|maar|of|hoe zit het met|dan|ook""",
    ),
    "ro": (
        """el$ ea$ ei$ ele$ asta aceasta acesta acestea acela aceea acolo lui$""",
        """și|dar|sau|dar dacă|atunci|iar|ce zici de""",
    ),
    "tr": (
        """onu ona onun ondan bunu bunun buna onlar onları şunu orada bunlar bu$ o$""",
        """ve|peki|ama|ya|peki ya|o zaman""",
    ),
    "pl": (
        """on$ ona$ ono$ oni$ jego jej ich tego$ tym$ tam$ to$ nim niej""",
        """a|i|ale|lub|a co z|co z|wtedy|też""",
    ),
    "vi": (
        """nó họ đó$ này$ ấy$ vậy$""",
        """còn|và|nhưng|vậy|thế còn|thế""",
    ),
    "id": (
        """itu$ ini$ dia mereka tersebut sana$""",
        """dan|tapi|atau|bagaimana dengan|lalu|kalau""",
    ),
    "sv": (
        """den$ det$ dem han hon där$ dess deras denna$ detta$""",
        """och|men|eller|hur är det med|då|också|vad gäller""",
    ),
    "ru": (
        """он она оно они его её ее их ему ей им этого этом этим этому тот$ это$ там$ него неё нее них нём нем ней""",
        """а|и|но|или|а что насчёт|а что насчет|тогда|также|а если""",
    ),
    "uk": (
        """він вона воно вони його її їх йому їй їм цього це$ там$ нього неї них""",
        """а|і|й|але|або|тоді|також|а якщо""",
    ),
    "el": (
        """αυτο αυτος αυτη αυτα αυτοι αυτες αυτου αυτης εκει εκεινο""",
        """και|αλλα|ή|τι γινεται με|τοτε|επισης""",
    ),
    "ar": (
        """هو$ هي$ هذا$ هذه$ ذلك$ تلك$ هناك$ لها لهم منه منها فيه فيها عنه عنها بها""",
        """و|وماذا عن|ماذا عن|ولكن|لكن|أو|إذن|وهل|وكم|وكيف|ومتى|وأين|ولماذا""",
    ),
    "hi": (
        """इसे इसका इसकी इसके उसे उसका उसकी उसके इसमें उसमें वहाँ वहां इनका उनका उनके""",
        """और|लेकिन|या|तो|के बारे में क्या|अगर""",
    ),
}
# The same where words are not set apart, as a pattern.
BACK_TOGETHER = {
    "zh": "它|他|她|这个|那个|这些|那些|这|那|其中|该|此|呢[？?]?$|^那么|^那",
    "ja": "それ|これ|その|この|あれ|そこ|彼|^では|^じゃあ|^では|は？$|は[?]$",
    "ko": "그것|이것|그건|이건|그럼|그러면|거기|그는|그녀|은요|는요",
    "th": "มัน|นั้น|นี้|เขา|เธอ|ที่นั่น|^แล้ว|ล่ะ",
}
# English "it" that stands for nothing.
EXPLETIVE = r"\b(?:is|was|will|would|does|did) it (?:possible|ok|okay|true|allowed|necessary|safe|worth|take)\b"
