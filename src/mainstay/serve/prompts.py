"""Prompts: Markdown files with strict templates, compiled once a release.

A line that is just `[system]`, `[user]` or `[assistant]` starts a message; text before the first such line is the user's.
Roles are cut before anything is filled in, so no input can make a message of its own. Templates are minijinja (Jinja's
syntax) with strict undefined and a fuel limit; a variable that nobody gives is an error at load, never an empty string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import minijinja

from mainstay.core.errors import ConfigError, nearest
from mainstay.core.model import Message, Role

FUEL = 500_000
_ROLE = re.compile(r"^\[(system|user|assistant)\]\s*$", re.MULTILINE)


def _environment() -> minijinja.Environment:
    env = minijinja.Environment(undefined_behavior="strict", fuel=FUEL, trim_blocks=True, lstrip_blocks=True)
    env.auto_escape_callback = lambda name: False
    env.finalizer = _text_or_json
    return env


def _text_or_json(value: Any) -> Any:
    """Lists, tables and None show as JSON, not as Python."""
    if isinstance(value, list | tuple | dict | bool) or value is None:
        return json.dumps(value, ensure_ascii=False)
    return value


class Template:
    """One text with holes. `where` names its file in errors."""

    __slots__ = ("_constant", "_env", "_where")

    def __init__(self, source: str, *, where: str, variables: Iterable[str]) -> None:
        known = set(variables)
        self._env, self._where = _environment(), where
        try:
            self._env.add_template("t", source)
            used = set(self._env.undeclared_variables_in_str(source))
        except minijinja.TemplateError as error:
            raise ConfigError(f"the template cannot be read: {_reason(error)}", where=where) from None
        for name in sorted(used - known):
            raise ConfigError(f"nothing gives the variable `{name}`; {nearest(name, known)}", where=where)
        self._constant = source if "{" not in source else None

    def render(self, values: Mapping[str, Any]) -> str:
        """Fill the holes. Raises `ConfigError` where a value lacks what the template asks of it."""
        if self._constant is not None:
            return self._constant
        try:
            return self._env.render_template("t", **values)
        except minijinja.TemplateError as error:
            raise ConfigError(f"the template cannot be filled: {_reason(error)}", where=self._where) from None


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0]


class Prompt:
    """A prompt file made ready: a template for each message.

    >>> p = Prompt("[system]\\nBe brief.\\n[user]\\n{{ question }}", where="a.md", variables=["question"])
    >>> [(m.role, m.content) for m in p.render({"question": "Why?"})]
    [('system', 'Be brief.'), ('user', 'Why?')]
    """

    __slots__ = ("_messages",)

    def __init__(self, source: str, *, where: str, variables: Iterable[str]) -> None:
        known = tuple(variables)
        before, *rest = _ROLE.split(source)
        pieces = [("user", before)] if before.strip() else []
        pieces += list(zip(rest[::2], rest[1::2], strict=True))
        if not pieces:
            raise ConfigError("the prompt is empty", where=where)
        self._messages = tuple(
            [(cast(Role, role), Template(text.strip(), where=where, variables=known)) for role, text in pieces]
        )

    def render(self, values: Mapping[str, Any]) -> list[Message]:
        """The messages, in the file's order, without those that come out empty."""
        messages = [Message(role, template.render(values).strip()) for role, template in self._messages]
        return [m for m in messages if m.content]
