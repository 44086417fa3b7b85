"""A key that limits money, and a model whose price nobody knows: said when the key is made, and when the model comes later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from serving import TALKING, Served

import mainstay
from mainstay.doors.cli.main import main
from mainstay.learn import keyring
from mainstay.learn.switching import Switchboard

PRICED = '[models.small]\nprovider = "scripted"\nprice = { input = "1 USD", output = "1 USD" }\n'
OWN = '[models.own]\nprovider = "scripted"\n'
WITH_OWN = TALKING.replace('model = "small"', 'model = "own"')
OTHER = {"features/other/feature.toml": WITH_OWN, "features/other/prompt.md": "{{ question }}\n"}
NAMED = "what own costs is not known, and this key limits money"
ADD = "[models.own.price] in mainstay.toml"
EMBEDDER = '[embedders.far]\nkind = "openai"\nmodel = "e"\nurl = "http://127.0.0.1:9/v1"\nkey = "env:FAR"\n'


def cli(root: Path, *words: str, exit: int) -> str:
    """What the command prints, and says."""
    done = CliRunner().invoke(main, [*words, "-C", str(root)])
    assert done.exit_code == exit, done.output
    return done.output


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["--limit", "per_day=5 USD"], True),
        (["--limit", "per_day=5 USD", "--limit", "per_day=100", "--feature", "other"], True),
        (["--limit", "per_month=5 USD", "--model", "own"], True),
        (["--limit", "per_day=5 USD", "--feature", "answers"], False),
        (["--limit", "per_day=5 USD", "--feature", "answers", "--model", "small"], False),
        (["--limit", "per_day=100", "--limit", "at_once=3"], False),
        ([], False),
    ],
)
def test_a_key_that_could_not_be_counted_is_not_made(project, words, refused):
    """One sentence with the model and with what to type; a key that cannot reach it, or limits no money, is made."""
    root = project(PRICED + OWN, TALKING, OTHER)
    said = cli(root, "keys", "create", "--tenant", "acme", *words, exit=2 if refused else 0)
    assert (NAMED in said and ADD in said and "--limit" in said) is refused
    assert (json.loads(cli(root, "keys", "list", "--json", exit=0)) == []) is refused


def test_what_is_live_counts_too(project):
    """A release still asks a model that the folder has left behind: a key for it is not made."""
    root = project(PRICED + OWN, WITH_OWN)
    with mainstay.open(root, dev=True) as app:
        app.desk.override("answers", "a test")
    (root / "features/answers/feature.toml").write_text(TALKING)
    said = cli(root, "keys", "create", "--tenant", "acme", "--feature", "answers", "--limit", "per_day=5 USD", exit=2)
    assert NAMED in said


def test_a_service_without_a_price_counts_for_features(project):
    """An embedder at an address that is paid for is charged to the call, so it has to have a price as well."""
    root = project(PRICED + EMBEDDER, TALKING)
    said = cli(root, "keys", "create", "--tenant", "acme", "--limit", "per_day=5 USD", exit=2)
    assert "what far costs is not known" in said and "[embedders.far]" in said
    cli(root, "keys", "create", "--tenant", "acme", "--limit", "per_day=5 USD", "--model", "small", exit=0)


async def test_over_http(served: Callable[..., Any]):
    """The same over `/admin/keys`: 400, with the sentence and the field."""
    server: Served = await served(PRICED + OWN, TALKING, OTHER)
    for body, status in (({}, 400), ({"models": ["own"]}, 400), ({"features": ["answers"]}, 201)):
        made = await server.post("/admin/keys", {"tenant": "acme", "limits": {"per_day": ["5 USD"]}, **body})
        assert made.status_code == status, made.text
        if status == 400:
            error = made.json()["error"]
            assert error["param"] == "limits" and NAMED in error["message"] and ADD in error["message"]


def test_check_and_doctor_name_a_model_that_came_later(project):
    """The price went away after the key was made: `check` does not meet its line on money, and `doctor` says it too."""
    root = project(PRICED, TALKING)
    with mainstay.open(root, dev=True) as app:
        board = Switchboard(app.releases, who="test")
        _, key = keyring.create(board, tenant="acme", limits={"per_day": ("5 USD",)})
        keyring.create(board, tenant="acme", limits={"per_day": (5,)})
        keyring.create(board, tenant="acme", limits={"per_day": ("5 USD",)}, expires=1.0)
    cli(root, "doctor", exit=0)
    (root / "mainstay.toml").write_text(PRICED.replace("price", "# price"))
    checked = cli(root, "check", "answers", "--json", exit=1)
    lines = json.loads(checked[checked.index("[") : checked.rindex("]") + 1])
    (money,) = [line for line in lines if line["name"] == "money"]
    assert money["standing"] == "not met" and key.id in money["what"] and "small" in money["what"]
    assert "[models.small.price]" in money["next"]
    said = cli(root, "doctor", exit=1)
    assert f"the key {key.id} limits money" in said and "[models.small.price]" in said
