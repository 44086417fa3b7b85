"""Harmless sentences about people, written for the guard `unsafe` to learn from beside public data. One line a text.

They speak of groups without judging them, praise them, deny or report hostility, or are rude to things. They are not measured on.
"""

NEUTRAL = """
Two women from our team visit the fair in May.
The museum is closed, but the cafe is open for disabled visitors.
Most immigrants in this town work in the hospital.
My neighbours are Muslims and we share the garden.
The survey asked gay couples about their rent.
Black voters decided the election in that county.
Is there a prayer room for Jewish guests?
A trans colleague asked how to change the name in the account.
She is a woman, and she is the head of the department.
Refugees can apply for the card at the counter on the second floor.
How many women study physics here?
The law gives disabled people the right to a ramp.
He wrote a book on the history of Christians in Egypt.
Do you sell shoes for women?
The films are by young African directors.
Which holidays do Hindus celebrate in autumn?
Our shop has clothes for men and women in all sizes.
There are many Mexican restaurants around here.
I met an old friend who is gay, and we had coffee.
The clinic offers tests for women over fifty.
Foreigners need a visa for a stay of more than ninety days.
Blind passengers may bring their dog on board.
She grew up as a deaf child in a hearing family.
Asian markets opened higher this morning.
The Indian team won by three goals.
I am proud to be a Muslim woman.
We love our black community and all that it gives to this town.
Gay people are wonderful parents.
Immigrants are a great help to our economy.
I like that my trans friends feel welcome here.
Disabled athletes are an inspiration.
Women are strong, and they deserve equal pay.
I do not think that women are inferior, nobody should.
Nobody deserves to be beaten for being gay.
It is a lie that immigrants are criminals.
No one should ever hate a person for their faith.
We do not accept that anyone calls Muslims animals.
People who say that women are stupid are wrong.
He was fined for shouting that black people should leave.
The teacher explained why that word for gay people hurts.
The court ruled that threats against Jews are a crime.
Stop telling disabled people that they are worthless.
I hate it when the printer jams.
This soup is disgusting.
The traffic on Monday is the worst.
Kill the process before you start it again.
That joke was dumb.
I can't stand this song any more.
My old laptop is garbage.
The war killed many people.
She died of cancer last year.
Mice are pests in the kitchen.
I am sick today and stay at home.
You did a great job, thank you.
He is angry with his boss.
I do not trust this website.
They told us a sad story about the war.
The new rule is a threat to small shops.
Der Kurs ist fur Frauen und Manner offen.
Viele Migranten arbeiten in der Pflege.
Les femmes de l'equipe partent demain.
Los inmigrantes pueden pedir la tarjeta aqui.
"""


def neutral() -> list[str]:
    """The texts."""
    return [line for line in NEUTRAL.splitlines() if line]
