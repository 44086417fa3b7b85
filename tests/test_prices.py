"""What models cost: by the bundled table, by the file, or unknown; never by a guess."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping

import pytest

import mainstay
from mainstay import prices
from mainstay.core.project import Model, Price
from mainstay.core.units import Usd
from mainstay.spec.settings_file import DISCOVERED

ENVIRONMENT = '[models.small]\nprovider = "environment"\n'


def price(provider: str = "openai", model: str = "", **more: object) -> Price | None:
    return prices.price_of(Model(provider=provider, model=model, **more))


@pytest.mark.parametrize(("variable", "provider", "model"), DISCOVERED)
def test_a_model_that_the_environment_names_is_priced(opened: Callable[..., mainstay.Mainstay], variable, provider, model):
    """Whoever has set nothing but a key still sees what each call costs."""
    app = opened(ENVIRONMENT, environ={variable: "no-real-key"})
    serving = app.features.project.models["small"]
    assert (app.settings.models["small"].provider, serving.model) == (provider, model)
    assert serving.price is not None and serving.price.output > serving.price.input > 0


@pytest.mark.parametrize(
    "environ",
    [
        {"MAINSTAY_MODEL_URL": "http://127.0.0.1:11434/v1", "MAINSTAY_MODEL_NAME": "gpt-5-mini"},
        {"OPENAI_API_KEY": "no-real-key", "MAINSTAY_MODEL_NAME": "a-model-of-tomorrow"},
    ],
)
def test_what_is_not_known_has_no_price(opened: Callable[..., mainstay.Mainstay], environ: Mapping[str, str]):
    """A server of one's own, or a model that the table never heard of, is of unknown price, also when its name sounds known."""
    assert opened(ENVIRONMENT, environ=environ).features.project.models["small"].price is None


@pytest.mark.parametrize(
    ("provider", "model", "more"),
    [
        ("openai", "", {}),
        ("openai", "gpt-5-minix", {}),
        ("openai", "gpt", {}),
        ("openai", "claude-haiku-4-5", {}),
        ("scripted", "gpt-5", {}),
        ("shop.providers:Own", "gpt-5", {}),
        ("openai", "gpt-5", {"url": "https://gateway.example.com/v1"}),
        ("openai", "gpt-5", {"url": "https://api.openai.com.example.com/v1"}),
    ],
)
def test_a_name_alone_does_not_make_a_price(provider, model, more):
    """The same name at another address, or half a name, may cost anything."""
    assert price(provider, model, **more) is None


def test_the_price_is_that_of_the_address():
    """A compatible provider's models have its own prices; dates in names, capital letters and prefixes lead to the same row."""
    assert price("openai", "gpt-5") == price("openai", "gpt-5", url="https://API.openai.com/v1/")
    assert price("anthropic", "claude-haiku-4-5-20251001") == price("anthropic", "Claude-Haiku-4-5") is not None
    hosts = prices.table()["hosts"]
    known = {provider: next(iter(models)) for provider, models in prices.table()["providers"].items()}
    for host, provider in hosts.items():
        assert price("openai", known[provider].rstrip("*"), url=f"https://{host}/v1") is not None, host


def test_an_announced_price_holds_from_its_day_on():
    """The day before, the old price is right; on the day and after it, the new one."""
    rows = {name: rows for name, rows in prices.table()["providers"]["google"].items() if len(rows) > 1}
    assert rows, "the table has no announced price any more: take another provider"
    for name, (*_, old, new) in rows.items():
        model, day = Model(provider="gemini", model=name.rstrip("*")), datetime.date.fromisoformat(new["from"])
        for today, row in [(day - datetime.timedelta(1), old), (day, new), (day + datetime.timedelta(3650), new)]:
            found = prices.price_of(model, today)
            assert found is not None and (found.input, found.output) == (row["input"], row["output"]), (name, today)
        assert prices.price_of(model, datetime.date(1970, 1, 1)) is not None


def test_every_row_of_the_table_is_a_price():
    """Each row has a price for any day, in the order of its days; none is zero, which would read as a gift."""
    table = prices.table()
    assert datetime.date.fromisoformat(table["as_of"])
    for models in table["providers"].values():
        for name, rows in models.items():
            days = [row.get("from", "") for row in rows]
            assert days[0] == "" and days == sorted(set(days)), name
            assert all(row["input"] > 0 and row["output"] > 0 for row in rows), name
            assert all(isinstance(value, int) for row in rows for key, value in row.items() if key != "from"), name


async def test_unknown_is_never_nothing(opened: Callable[..., mainstay.Mainstay]):
    """A call of a model without a price costs None in its record; one of a model with a price costs what the file says."""
    usage = "usage = { input = 1_000_000, output = 2, cached_input = 400_000 }"
    cost = 'price = { input = "1 USD", cached_input = "0.1 USD", output = "3 USD" }'
    settings = '[models.{}]\nprovider = "scripted"\nmodel = "gpt-5"\noptions = {{ {} }}\n{}\n'
    app = opened(settings.format("small", usage, "") + settings.format("large", usage, cost))
    unknown = await app.record((await app.run("answers", question="?")).id)
    assert unknown is not None and unknown.outcome.cost_nano_usd is None
    assert [a.cost_nano_usd for a in unknown.outcome.attempts] == [None]
    feature = app.root / "features" / "answers" / "feature.toml"
    feature.write_text(feature.read_text().replace('"small"', '"large"'))
    app.reload()
    known = await app.record((await app.run("answers", question="?")).id)
    assert known is not None and known.outcome.cost_nano_usd == Usd.parse("0.640006 USD")
