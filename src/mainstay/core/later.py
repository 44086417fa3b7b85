"""Things that are made when they are first asked for anything: patterns, codecs, and parts that most projects never need.

An import that compiles every pattern of every guard takes longer than the first answer. So what is dear to make, and stands at
the top of a module, stands there as `later(...)`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class _Later:
    """Stands for what `make` gives, which is made once. Each of its attributes is looked up once, so none of them may change."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = functools.cache(make)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._make(), name)
        setattr(self, name, found)
        return found


def later(make: Callable[[], T]) -> T:
    """What `make` will give, as soon as something is asked of it by name: a method, an attribute. It is nothing to be called,
    compared, or told apart by its type. Two threads that ask first at the same moment may make it twice.

    >>> decoder = later(lambda: msgspec.json.Decoder(Record))
    >>> decoder.decode(data)
    """
    return cast(T, _Later(make))


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """`re.compile`, when the pattern is first used.

    >>> WORD = pattern(r"[a-z]+")
    >>> WORD.findall("a rung")
    ['a', 'rung']
    """
    return later(lambda: re.compile(text, flags))
