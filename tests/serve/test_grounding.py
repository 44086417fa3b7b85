"""What a call is searched for, for whom, and what happens when a part of the search fails."""

from __future__ import annotations

import pytest

import mainstay
from mainstay.core.call import Turn
from mainstay.serve.wholeness import whole

SETTINGS = """
    [sources.help]
    path = "help"
"""
FEATURE = """
    summary = "Answers"
    deadline = "2s"
    history = 6

    [[ladder]]
    search = "help"

    [[ladder]]
    message = "Sorry."
"""
HELP = {
    "help/shipping.md": "# Shipping\n\n## Parcels to Norway\n\nParcels to Norway take nine days.\n\n"
    "## Parcels to Sweden\n\nParcels to Sweden take two days.\n",
    "help/opera.md": "# Opera\n\nThe opera in Vienna opens at seven.\n",
}


def turns(*texts: str) -> tuple[Turn, ...]:
    """What was said before, in turns."""
    return tuple([Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(texts)])


FOLLOW_UPS = [  # what was said before, the question, and the words that it lacks
    (("How long do parcels to Norway take?", "Nine days."), "And to Sweden?", ["parcels"]),
    (("What is the refund period for private customers?", "Thirty days."), "What about businesses?", ["refund", "period"]),
    (
        ("Which plan has single sign-on?", "The plan with it is called Enterprise."),
        "How much does it cost?",
        ["plan", "Enterprise"],
    ),
    (("Parcels to Norway: how long?", "Nine days.", "And to Sweden?", "Two."), "And Denmark?", ["parcels"]),
    (("Wie lange ist die Rückgabefrist?", "30 Tage."), "Und für Firmenkunden?", ["Rückgabefrist"]),
    (("Combien coûte la livraison en Suisse ?", "Dix francs."), "Et en Belgique ?", ["livraison"]),
    (("¿Cuánto tarda el envío a España?", "Dos días."), "¿Y a México?", ["envío"]),
    (("Сколько стоит доставка в Казань?", "300 рублей."), "А в Москву?", ["доставка"]),
    (("كم تستغرق عملية الإرجاع؟", "ثلاثون يوما"), "وماذا عن الشركات؟", ["الإرجاع"]),
    (("退货需要多长时间？", "三十天。"), "那企业客户呢？", ["退货"]),
    (("İade süresi ne kadar?", "30 gün."), "Peki şirketler için?", ["süresi"]),
]
OWN = [  # questions that stand by themselves, whatever was said before
    (("How do I export a report?", "Use the menu."), "How long do parcels to Norway take?"),
    (("How do I export a report?", "Use the menu."), "Is it possible to pay by invoice?"),
    (("How do I export a report?", "Use the menu."), "How do refunds work?"),
    (("How do I export a report?", "Use the menu."), "Is there a discount for students?"),
    (("Wie lange ist die Rückgabefrist?", "30 Tage."), "Gibt es einen Rabatt für Studenten?"),
    (("Combien coûte la livraison en Suisse ?", "Dix francs."), "Est-ce qu'il y a une remise pour les étudiants ?"),
    (("¿Cuánto tarda el envío a España?", "Dos días."), "¿Cómo cambio la contraseña?"),
    (("How do I export a report?", "Use the menu."), "Where is the opera in Vienna and how do I get tickets there?"),
    (("Wie lange ist die Rückgabefrist?", "30 Tage."), "Wie kündige ich mein Abonnement?"),
    (("退货需要多长时间？", "三十天。"), "如何导出报告到电子表格？"),
    (("Combien coûte la livraison en Suisse ?", "Dix francs."), "Comment changer mon mot de passe ?"),
]


@pytest.mark.parametrize(("before", "question", "lacks"), FOLLOW_UPS)
def test_a_follow_up_question_is_made_whole(before, question, lacks):
    """What a question leaves to what was said before is added to it, in the languages that people ask in; its own words lead."""
    made = whole(question, turns(*before))
    assert made.startswith(question)
    assert all(word.casefold() in made.casefold() for word in lacks), made


@pytest.mark.parametrize(("before", "question"), OWN)
def test_a_question_with_a_subject_of_its_own_stays_as_it_is(before, question):
    """A new subject is not searched for together with the old one."""
    assert whole(question, turns(*before)) == question
    assert whole(question, ()) == question


async def test_a_follow_up_is_answered_and_a_new_subject_is_not_confused(opened):
    """Through the door: the same history helps the question that needs it and leaves the other alone, answered or not."""
    app = opened(SETTINGS, FEATURE, HELP)
    history = [{"role": "user", "text": "How long do parcels to Norway take?"}, {"role": "assistant", "text": "Nine days."}]
    assert "two days" in (await app.run("answers", question="And to Sweden?", history=history)).text
    sweden = [{"role": "user", "text": "How long do parcels to Sweden take?"}]
    for before, passage in ((history, "shipping.md#parcels-to-norway"), (sweden, "shipping.md#parcels-to-sweden")):
        answer = await app.run("answers", question="How many days is it?", history=before)
        assert answer.citations[0].passage == passage
    assert "opens at seven" in (await app.run("answers", question="When does the opera in Vienna open?", history=history)).text
    unknown = await app.run("answers", question="Who repairs broken bicycle chains?", history=history)
    assert (unknown.status, unknown.reason) == ("refused", "no_evidence")


HELPED = """
    from mainstay.core.evidence import Passage, Viewer
    from mainstay.core.seams import Entry
    from mainstay.parts.sources.indexed import Indexed
    from mainstay.parts.stores.sqlite_index import SqliteIndex
    import asyncio

    class Helper:
        name = "e"

        def __init__(self, fault):
            self.fault = fault

        async def embed(self, texts):
            return await self.fail() or [[1.0]]

        async def score(self, query, texts):
            return await self.fail() or [float("Sweden" in text) for text in texts]

        async def fail(self):
            if self.fault == "slow":
                await asyncio.sleep(60)
            if self.fault == "broken":
                raise OSError("gone")
            if self.fault == "wrong":
                return [0.0, 1.0, 2.0, 3.0, 4.0]

    def help(*, name, rerank="", embed=""):
        index = SqliteIndex(":memory:")
        places = ("Norway", "Sweden")
        index.write([
            Entry(document=p, digest=p, vectors=(b"\\0\\0\\x80?",), passages=(
                Passage(id=p, source=name, document=p, text=f"Parcels abroad take days. {p} is abroad."),))
            for p in places
        ], embedder="e")
        helpers = {key: Helper(fault) for key, fault in (("embedder", embed), ("reranker", rerank)) if fault}
        return Indexed(name=name, index=index, **helpers)
"""
ASKED = "How many days do parcels abroad take?"


def helped(opened, **options: str) -> mainstay.Mainstay:
    lines = "\n".join(f'{name} = "{value}"' for name, value in options.items())
    settings = f'[sources.help]\nkind = "helped:help"\n[sources.help.options]\n{lines}\n'
    return opened(settings, FEATURE, {"helped.py": HELPED})


async def asked(app: mainstay.Mainstay) -> tuple[list[str], str]:
    """Which passages were cited, and what the record says about the search."""
    answer = await app.run("answers", question=ASKED)
    assert answer.status == "answered"
    record = await app.record(answer.id)
    assert record is not None
    notes = [a.detail for a in record.outcome.attempts if a.rung == "grounding"]
    return [c.passage for c in answer.citations], " ".join(notes)


async def test_a_reranker_has_the_last_word(opened):
    """Of two passages that words find alike the one that the reranker prefers comes first."""
    assert (await asked(helped(opened)))[0][0] == "Norway"
    assert await asked(helped(opened, rerank="works")) == (["Sweden", "Norway"], "")


@pytest.mark.parametrize(("fault", "said"), [("slow", "TooSlow"), ("broken", "OSError: gone"), ("wrong", "5")])
@pytest.mark.parametrize("part", ["rerank", "embed"])
async def test_help_that_fails_or_is_late_costs_only_itself(opened, part: str, fault: str, said: str):
    """What words find is served all the same, well within the deadline, and the record says what did not help."""
    passages, notes = await asked(helped(opened, **{part: fault}))
    assert passages == ["Norway", "Sweden"]
    assert ("reranker failed" if part == "rerank" else "embedder failed") in notes
    assert fault == "wrong" or said in notes
