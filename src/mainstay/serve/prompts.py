"""Prompts: Markdown files with strict templates, compiled once a release.

A line that is just `[system]`, `[user]` or `[assistant]` starts a message; text before the first such line is the user's.
Roles are cut before anything is filled in, so no input can make a message of its own. Templates are minijinja (Jinja's
syntax) with strict undefined and a fuel limit; a variable that nobody gives is an error at load, never an empty string.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import minijinja

from mainstay.core.errors import ConfigError, RungFailed, nearest
from mainstay.core.model import Message, Role

FUEL = 500_000  # instructions of one rendering: a loop without end stops after some milliseconds
ROLES = ("system", "user", "assistant")
_ROLE = re.compile(rf"^\[({'|'.join(ROLES)})\][^\S\n]*$", re.MULTILINE)
_NEARLY = re.compile(r"^[^\S\n]*\[[^\S\n]*([A-Za-z]+)[^\S\n]*\]:?[^\S\n]*$", re.MULTILINE)
_AT = re.compile(r" \(in .*?:(\d+)\)$")


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
    """One text with holes. `used` are the variables that it asks for.

    `where` names its file in errors; `line` is the file's line on which the text begins, where `where` does not say it already.
    """

    __slots__ = ("_constant", "_env", "_line", "_where", "used")

    def __init__(self, source: str, *, where: str, variables: Iterable[str], line: int | None = None) -> None:
        known = set(variables)
        self._env, self._where, self._line = _environment(), where, line
        try:
            self._env.add_template("t", source)
            self.used = frozenset(self._env.undeclared_variables_in_str(source)) - self._env.globals.keys()
        except minijinja.TemplateError as error:
            raise ConfigError(f"the template cannot be read: {_reason(error)}", where=self._at(error.line)) from None
        for name in sorted(self.used - known, key=lambda name: (_line_of(name, source), name)):
            raise ConfigError(
                f"nothing gives the variable `{name}`; {nearest(name, known)}", where=self._at(_line_of(name, source))
            )
        self._constant = source if "{" not in source else None

    def _at(self, line: int | None) -> str:
        """The file and line of a line of the template."""
        if self._line is not None:
            return f"{self._where}:{self._line + (line or 1) - 1}"
        return self._where if (line or 1) == 1 else f"{self._where}, line {line} of the template"

    def render(self, values: Mapping[str, Any]) -> str:
        """Fill the holes. Raises `RungFailed` where a value lacks what the template asks of it."""
        if self._constant is not None:
            return self._constant
        try:
            return self._env.render_template("t", **values)
        except minijinja.TemplateError as error:
            raise RungFailed(f"the template cannot be filled: {_reason(error)}", where=self._at(error.line)) from None

    def try_on(self, values: Mapping[str, Any]) -> str:
        """Fill it with made-up values, at load. Raises `ConfigError` where it asks for what no value will have."""
        try:
            return self.render(values)
        except RungFailed as error:
            asked = re.search(r"`(?:.*\.)?(\w+)` is undefined", error.what)
            names = sorted(set(_names(values)))
            close = difflib.get_close_matches(asked[1], names, n=1, cutoff=0.6) if asked and asked[1] not in names else []
            hint = f'; did you mean "{close[0]}"?' if close else ""
            raise ConfigError(error.what + hint, where=error.where) from None


def _reason(error: minijinja.TemplateError) -> str:
    return _AT.sub("", str(error).splitlines()[0])


def _line_of(name: str, source: str) -> int:
    """The first line of the template that asks for the variable."""
    found = re.search(rf"\{{[{{%][^}}]*?\b{re.escape(name)}\b", source)
    return source.count("\n", 0, found.end()) + 1 if found else 1


def _names(value: Any) -> Iterator[str]:
    """Every key in a value, however deep."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)


class Prompt:
    """A prompt file made ready: a template for each message. `used` are the variables that they ask for.

    >>> p = Prompt("[system]\\nBe brief.\\n[user]\\n{{ question }}", where="a.md", variables=["question"])
    >>> [(m.role, m.content) for m in p.render({"question": "Why?"})]
    [('system', 'Be brief.'), ('user', 'Why?')]
    """

    __slots__ = ("_messages", "used")

    def __init__(self, source: str, *, where: str, variables: Iterable[str]) -> None:
        known = tuple(variables)
        _check_roles(source, where)
        found = list(pieces(source))
        if not any(text for _, text, _ in found):
            raise ConfigError("the prompt is empty", where=where)
        if all(role != "user" or not text for role, text, _ in found):
            raise ConfigError("the prompt has no message of the user, which every model needs", where=where, next="[user]")
        self._messages = tuple([(role, Template(text, where=where, variables=known, line=line)) for role, text, line in found])
        self.used = frozenset[str]().union(*[template.used for _, template in self._messages])

    def render(self, values: Mapping[str, Any]) -> list[Message]:
        """The messages, in the file's order, without those that come out empty. Raises `RungFailed`."""
        messages = [Message(role, template.render(values).strip()) for role, template in self._messages]
        return [m for m in messages if m.content]

    def try_on(self, values: Mapping[str, Any]) -> None:
        """Fill it with made-up values, at load. Raises `ConfigError`."""
        for _, template in self._messages:
            template.try_on(values)


def pieces(source: str) -> Iterator[tuple[Role, str, int]]:
    """Role, text and first line of each message. Text before the first role, if there is any, is the user's."""
    role, start = "user", 0
    for mark in [*_ROLE.finditer(source), None]:
        text = source[start : mark.start() if mark else len(source)]
        if text.strip() or start:
            before = source[:start] + text[: len(text) - len(text.lstrip())]
            yield cast(Role, role), text.strip(), before.count("\n") + 1
        if mark:
            role, start = mark[1], mark.end()


def _check_roles(source: str, where: str) -> None:
    """A misspelt role would become part of the message above it, unseen."""
    for line in _NEARLY.finditer(source):
        if _ROLE.fullmatch(line[0]):
            continue
        close = difflib.get_close_matches(line[1].casefold(), ROLES, n=1, cutoff=0.8)
        if close:
            number = source.count("\n", 0, line.start()) + 1
            raise ConfigError(
                f"a line of its own that is nearly a role: {line[0].strip()!r}", where=f"{where}:{number}", next=f"[{close[0]}]"
            )
