"""One request to a feature, as every door hands it to `serve`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

from mainstay.core.evidence import Viewer
from mainstay.core.model import ModelRequest

Priority = Literal["interactive", "standard", "batch"]
PRIORITIES: tuple[Priority, ...] = ("interactive", "standard", "batch")  # who goes first, first
Origin = Literal["user", "eval", "judge", "shadow", "replay", "audit", "drill", "probe", "ahead"]


class Turn(Struct, frozen=True):
    """An earlier turn of the conversation, as the caller tells it. It is untrusted: the caller may have made it up."""

    role: Literal["user", "assistant"]
    text: str


class Call(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request: which feature, for whom, with what, until when.

    `id` is also the id of the answer and of the record. `deadline` is in seconds from the moment of the call; a caller may
    shorten the feature's, never lengthen it; so may it lower the `priority`, never raise it. `cohort` is set where the call takes
    part in a trial: the trial's id and `canary`, `control` or `shadow`. `roles` are what the application says its user may see
    (`staff`, `editor`, …). `key` is the public id of the key that it came with, `parent` the call that this one was made for.
    `retries` is how often the caller's own SDK says that it has sent the same before. `stream` says that somebody reads the words
    as they come, `progress` that they want `step` events too. `request` is set for a plain model only, and then `input` is empty.
    """

    id: str
    feature: str
    input: dict[str, Any] = {}
    history: tuple[Turn, ...] = ()
    tenant: str = "default"
    key: str | None = None
    user: str | None = None
    roles: tuple[str, ...] = ()
    session: str | None = None
    locale: str | None = None
    deadline: float | None = None
    priority: Priority | None = None
    origin: Origin = "user"
    cohort: str | None = None
    parent: str | None = None
    retries: int = 0
    stream: bool = False
    progress: bool = False
    request: ModelRequest | None = None

    @property
    def viewer(self) -> Viewer:
        """For whom sources are searched."""
        return Viewer(tenant=self.tenant, roles=self.roles)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Every text that came from outside, with the path that names it in an error."""
        for name, value in self.input.items():
            yield from _texts(name, value)
        for i, turn in enumerate(self.history):
            yield f"history[{i}].text", turn.text
        if self.request is not None:
            for i, message in enumerate(self.request.messages):
                yield f"messages[{i}].content", message.text


def _texts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(f"{path}.{key}", inner)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _texts(f"{path}[{i}]", inner)
