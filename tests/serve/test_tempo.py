"""What is slow for a model, and what the breaker makes of slow answers; the clock is ours."""

from __future__ import annotations

from mainstay.serve.breaker import FIRST_PAUSE, LEAST_SLOW, Breaker
from mainstay.serve.tempo import NEW_USUAL, Tempo


def learned(seconds: float = 0.2, count: int = 40) -> Tempo:
    """A model that usually takes about so long."""
    tempo = Tempo()
    for n in range(count):
        assert not slow(tempo, seconds * (0.9 + 0.02 * (n % 10)))
    return tempo


def slow(tempo: Tempo, seconds: float, *, probe: bool = False) -> bool:
    return tempo.is_slow("answers/small", first=seconds, whole=seconds * 2, alike=True, probe=probe)


def test_slow_is_what_is_far_above_the_models_own_usual():
    """Twice as long as usual is not slow, ten times is; before anything is known nothing is."""
    assert not slow(Tempo(), 100.0)
    tempo = learned()
    assert not slow(tempo, 0.4)
    assert slow(tempo, 2.0)


def test_slow_answers_do_not_make_themselves_usual_at_once():
    """The eleventh slow answer is as slow as the first; where nothing else comes for long, that is what is usual."""
    tempo = learned()
    assert all(slow(tempo, 3.0) for _ in range(NEW_USUAL))
    assert not slow(tempo, 3.0), "what has been so for long is usual"


def test_a_rung_is_compared_with_itself():
    """Long answers of one rung are not slow because another rung's are short."""
    tempo = learned()
    assert not tempo.is_slow("essays/small", first=5.0, whole=20.0, alike=True, probe=False)


def test_what_the_settings_state_is_slow_and_nothing_else():
    """With `slow` a first word later than that is slow, from the first answer on, and one that is not is never."""
    tempo = Tempo(slow=1.0)
    assert slow(tempo, 1.1)
    assert not any(slow(tempo, 0.01) for _ in range(50))
    assert not slow(tempo, 0.9)
    assert tempo.is_slow("answers/small", first=None, whole=1.1, alike=False, probe=False)


def test_whole_times_of_requests_that_are_not_alike_are_not_compared():
    """A plain model's caller may ask for as long a text as he likes."""
    tempo = Tempo()
    for _ in range(40):
        assert not tempo.is_slow("small", first=None, whole=0.1, alike=False, probe=False)
    assert not tempo.is_slow("small", first=None, whole=60.0, alike=False, probe=False)


def test_one_slow_answer_opens_nothing():
    """A single one, or three of ten, leave the breaker closed."""
    breaker = Breaker()
    for n in range(40):
        breaker.report(breaker.admit(float(n)), True, float(n), slow=n % 10 in (0, 3, 6))
    assert breaker.state == "closed"


def test_mostly_slow_answers_open_it_and_fast_ones_close_it():
    """It opens when most of at least ten answers were slow; a slow probe keeps it open, two fast ones close it."""
    breaker = Breaker()
    for _ in range(LEAST_SLOW - 1):
        breaker.report(breaker.admit(0.0), True, 0.0, slow=True)
    assert breaker.state == "closed", "too few to judge by"
    breaker.report(breaker.admit(0.0), True, 0.0, slow=True)
    assert (breaker.state, breaker.admit(1.0)) == ("open", None)
    now = FIRST_PAUSE
    breaker.report(breaker.admit(now), True, now, slow=True)
    assert breaker.state == "open"
    now += 2 * FIRST_PAUSE
    for _ in range(2):
        breaker.report(breaker.admit(now), True, now)
    assert breaker.state == "closed"


async def test_a_model_that_became_slow_gives_way_to_the_next_rung(opened):
    """Forty quick answers and then slow ones: after some of these the model is left out, and the record says why."""
    replies = ", ".join(['"quick"'] * 40 + ['{ text = "slow", delay = "400ms" }'] * 20)
    settings = f'[models.small]\nprovider = "scripted"\noptions = {{ replies = [{replies}] }}\n'
    app = opened(settings)
    model = app.features.ready["answers"].rungs[0].models[0]
    for n in range(40):
        assert (await app.run("answers", question=f"{n}")).text == "quick"
    assert model.breaker.state == "closed"
    for n in range(20):
        answer = await app.run("answers", question=f"slow {n}")
        if model.breaker.state == "open":
            break
    assert model.breaker.state == "open" and n >= 8
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.reason) == ("degraded", "model_unavailable")
