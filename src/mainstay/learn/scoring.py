"""Runs scorers over one sealed record. The same function scores an evaluation's answers and live ones.

A scorer that raises, or is too slow, has an opinion all the same: that it could not tell, and why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer, Citation
from mainstay.core.case import NOT, Case
from mainstay.core.errors import ConfigError, MainstayError
from mainstay.core.evidence import Passage, Viewer
from mainstay.core.record import Record
from mainstay.core.report import Opinion
from mainstay.core.seams import Scorer, Subject

log = logging.getLogger("mainstay.learn")
PATIENCE = 60.0  # seconds that one scorer may take for one answer


Ask = Callable[[str, Mapping[str, Any]], Awaitable[Answer]]


class ReadyScorer(Struct, frozen=True):
    """A scorer under its name."""

    name: str
    scorer: Scorer


class Scoring(Struct, frozen=True, kw_only=True):
    """What answers are scored with: the scorers that see each of them, those that a case may name, and what they are lent."""

    always: Sequence[ReadyScorer]
    named: Callable[[str], ReadyScorer]
    look_up: Callable[[Citation, Viewer], Awaitable[Passage | None]]
    ask: Ask

    def check(self, cases: Iterable[Case]) -> None:
        """Raises `ConfigError` for a case that names no scorer, or expects of one what it cannot tell: before money is spent."""
        for case in cases:
            for name, expected in case.expect.items():
                try:
                    checked = getattr(self.named(name.removeprefix(NOT)).scorer, "check_expected", None)
                    if checked is not None:
                        checked(expected)
                except MainstayError as error:
                    raise ConfigError(error.what, where=f"case {case.id}, expect.{name}", next=error.next) from None
                except ValueError as error:
                    raise ConfigError(str(error), where=f"case {case.id}, expect.{name}") from None

    async def opinions(self, record: Record, case: Case | None = None, rival: Record | None = None) -> dict[str, Opinion]:
        """What each scorer says that has something to say, by its name."""
        expect = {} if case is None else case.expect
        viewer = record.begun.call.viewer
        subject = Subject(
            record=record, case=case, rival=rival, look_up=lambda citation: self.look_up(citation, viewer), ask=self.ask
        )
        said = {}
        for ready in self.always:
            said[ready.name] = await _opinion(ready, msgspec.structs.replace(subject, expected=expect.get(ready.name)))
        for name, expected in expect.items():
            if name not in said:
                unwanted = name.startswith(NOT)
                seen = msgspec.structs.replace(subject, expected=expected, unwanted=unwanted)
                opinion = await _opinion(self.named(name.removeprefix(NOT)), seen)
                said[name] = _inverted(opinion) if unwanted else opinion
        return {name: opinion for name, opinion in said.items() if opinion is not None}


async def _opinion(ready: ReadyScorer, subject: Subject) -> Opinion | None:
    try:
        async with asyncio.timeout(PATIENCE):
            return await ready.scorer.score(subject)
    except TimeoutError:
        return Opinion(reason=f"the scorer took longer than {PATIENCE:g} s")
    except Exception as error:
        log.debug("the scorer %s failed on %s", ready.name, subject.record.id, exc_info=error)
        said = str(error) if isinstance(error, MainstayError) else f"{type(error).__name__}: {error}"
        return Opinion(reason=said.encode("utf-8", "replace").decode())  # an answer that it quotes may hold half a character


def _inverted(opinion: Opinion | None) -> Opinion | None:
    if opinion is None or opinion.passed is None:
        return opinion
    value = None if opinion.value is None else 1 - opinion.value
    return Opinion(value=value, passed=not opinion.passed, reason=opinion.reason)
