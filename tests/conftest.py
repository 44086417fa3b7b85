"""What tests share: a project written to a temporary folder, opened through the front door."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import mainstay

DATA = Path(__file__).parents[2] / "shared" / "data"

ECHO = """
    [models.small]
    provider = "scripted"
    model = "small"
"""

FEATURE = """
    summary = "Answers"
    deadline = "2s"

    [[ladder]]
    model = "small"
    prompt = "prompt.md"

    [[ladder]]
    message = "Sorry."
"""

Project = Callable[..., Path]


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write files, their common indentation removed."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """`project(settings, feature, **files)` writes a project with the feature `answers` and gives its folder.

    `files` are further files, by their path from the project's folder; a prompt is there already.
    """

    def make(settings: str = ECHO, feature: str = FEATURE, files: Mapping[str, str] | None = None) -> Path:
        root = tmp_path / "project"
        write(
            root,
            {
                "mainstay.toml": settings,
                "features/answers/feature.toml": feature,
                "features/answers/prompt.md": "{{ question }}\n",
                **(files or {}),
            },
        )
        return root

    return make


@pytest.fixture
async def opened(project: Project) -> AsyncIterator[Callable[..., mainstay.Mainstay]]:
    """`opened(settings, feature, files)` writes and opens a project, and closes it at the end of the test."""
    apps: list[mainstay.Mainstay] = []

    def make(*args: Any, environ: Mapping[str, str] | None = None, **kwargs: Any) -> mainstay.Mainstay:
        app = mainstay.open(project(*args, **kwargs), environ=environ or {}, dev=True)
        apps.append(app)
        return app

    yield make
    for app in apps:
        await app.close()


@pytest.fixture
def data() -> Path:
    """The folder of real public data; a test that needs it is skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there")
    return DATA
