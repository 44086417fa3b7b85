"""Answers questions before they are asked: those that were asked most, or those of a list, through `serve` into the cache.

What is made ahead is an ordinary entry of the exact cache, under the key of the call that will ask for it; the calls themselves
have the origin `ahead`, obey switches and limits, and leave records. One question at a time, with a pause between two, so that
users never wait for it; the first answer that money does not allow, or some failures in a row, end it.

Only questions that several users of one tenant have asked are taken from live calls: what one user alone has asked may be about
him. Records of a feature that does not keep texts in full say nothing to go by.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.errors import BadRequest
from mainstay.core.feature import Feature
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Record
from mainstay.serve.ready import Ready

USERS = 3  # of one tenant, who have to have asked the same
TOP = 50
PAUSE = 0.2  # seconds between two questions
FAILURES = 3  # in a row, after which nothing more is asked
NO_MONEY = (Reason.OVER_BUDGET, Reason.SWITCHED_OFF)


class Made(Struct, frozen=True, kw_only=True):
    """What was done ahead: of the `asked` questions `answered` are new in the cache, `there` were in it, `failed` are not.
    `stopped` says why the rest was not asked. `cost_nano_usd` is None where a price is unknown.
    """

    asked: int
    answered: int
    there: int
    failed: int
    cost_nano_usd: int | None
    stopped: str = ""

    @property
    def sentence(self) -> str:
        """It in a sentence."""
        said = f"{self.asked} questions asked ahead: {self.answered} answered, {self.there} were there, {self.failed} failed"
        return f"{said}; stopped: {self.stopped}" if self.stopped else said


def most_asked(records: Iterable[Record], feature: Feature, top: int) -> list[Call]:
    """The calls that most users have made, those of one tenant counted together."""
    users: dict[bytes, set[str]] = {}
    times: Counter[bytes] = Counter()
    calls: dict[bytes, Call] = {}
    for record in records if feature.log == "full" else ():
        call = record.begun.call
        if call.user is None or call.history or call.request is not None or record.outcome.answer.status not in GOOD:
            continue
        who = hashlib.blake2b(
            msgspec.json.encode((call.tenant, call.roles, call.locale, call.input), order="deterministic")
        ).digest()
        users.setdefault(who, set()).add(call.user)
        times[who] += 1
        calls[who] = call
    many = [who for who, _ in times.most_common() if len(users[who]) >= USERS]
    return [
        Call(id="", feature=feature.name, input=c.input, tenant=c.tenant, roles=c.roles, locale=c.locale, origin="ahead")
        for c in (calls[who] for who in many[:top])
    ]


GOOD = (Status.ANSWERED, Status.CACHED)


def listed(text: str, feature: Feature, *, where: str, tenant: str = "default") -> list[Call]:
    """The calls of a list: a question a line, or an input as JSON. Raises `BadRequest` with the line."""
    fields = list(feature.input.fields)
    calls = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        input: Any = {fields[0]: line.strip()} if fields else None
        if line.lstrip().startswith("{"):
            try:
                input = json.loads(line)
            except ValueError as error:
                raise BadRequest(f"not JSON: {error}", where=f"{where}:{number}") from None
        if not isinstance(input, dict):
            raise BadRequest("the input has a schema, so a line is its JSON", where=f"{where}:{number}")
        calls.append(Call(id="", feature=feature.name, input=input, tenant=tenant, origin="ahead"))
    return calls


def possible(ready: Ready) -> str:
    """Why nothing of this release can be answered ahead; empty where it can."""
    if not ready.feature.cache.keep:
        return "it keeps no answers"
    if ready.slots is not None and ready.slots.private:
        return "its facts depend on who asks"
    return ""


async def make(
    calls: Sequence[Call],
    *,
    new_id: Callable[[], str],
    answer: Callable[[Call], Awaitable[Answer]],
    cost: Callable[[str], Awaitable[int | None]],
    go_on: Callable[[], bool] = lambda: True,
    seen: Callable[[int, int], None] = lambda done, of: None,
) -> Made:
    """Ask these, one after the other."""
    counted: Counter[str] = Counter()
    spent: int | None = 0
    stopped, failures = "", 0
    for i, call in enumerate(calls):
        if not go_on():
            stopped = "another process goes on"
            break
        found = await answer(msgspec.structs.replace(call, id=new_id()))
        counted["asked"] += 1
        kind = {Status.ANSWERED: "answered", Status.CACHED: "there"}.get(found.status, "failed")
        counted[kind] += 1
        price = await cost(found.id)
        spent = None if spent is None or price is None else spent + price
        failures = failures + 1 if kind == "failed" else 0
        seen(i + 1, len(calls))
        if found.reason in NO_MONEY:
            stopped = found.reason.value
        elif failures == FAILURES:
            stopped = f"{FAILURES} failures in a row"
        if stopped:
            break
        if kind != "there":
            await asyncio.sleep(PAUSE)
    return Made(
        asked=counted["asked"],
        answered=counted["answered"],
        there=counted["there"],
        failed=counted["failed"],
        cost_nano_usd=spent,
        stopped=stopped,
    )


def state_of(ready: Ready, now: float) -> str:
    """Names what answers would be made of: another release, another content of a source, or their end, and they are made anew."""
    versions = [source.version for source in ready.sources.values()]
    period = int(now / (ready.feature.cache.keep or 1))
    whole = msgspec.json.encode((ready.digest, versions, period, ready.feature.cache.ahead))
    return f"ahead-{hashlib.blake2b(whole, digest_size=12).hexdigest()}"
