"""`/admin/features/{feature}`: what is served, and the switch that waits for nothing. Each change is a link of the audit chain.

It takes a key of its own, `MAINSTAY_ADMIN_KEY`; where only callers have one, nobody comes in here. What is changed is what
`mainstay off`, `on` and `rollback` change, and every process obeys it within a second.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from mainstay.app import Mainstay
from mainstay.core.errors import Refused, nearest
from mainstay.core.release import EVERY, State, Switched, public
from mainstay.doors.http.features import Short, decoded
from mainstay.doors.http.wire import JSON, HttpError, Request
from mainstay.learn.switching import Switchboard

_encode = msgspec.json.Encoder(enc_hook=str).encode
Text = Annotated[str, Meta(max_length=1000)]


class SwitchRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `PUT /admin/features/{feature}/switch`."""

    off: Annotated[bool, Meta(description="Off, or on again.")]
    tenant: Annotated[Short | None, Meta(description="Only for this tenant.")] = None
    share: Annotated[float, Meta(gt=0, le=1, description="Only for this share of the users.")] = 1.0
    rungs: Annotated[
        Literal["models", "all"], Meta(description="What goes: rungs that need a model, or all but the fixed message.")
    ] = "models"
    why: Annotated[Text, Meta(description="What the audit says about it.")] = ""
    who: Annotated[Short, Meta(description="Who does it, as the application names them.")] = "admin"


class RollbackRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /admin/features/{feature}/rollback`."""

    to: Annotated[Short | None, Meta(description="The release, or the beginning of its digest; by default the one before.")] = (
        None
    )
    why: Annotated[Text, Meta(description="What the audit says about it.")] = ""
    who: Annotated[Short, Meta(description="Who does it, as the application names them.")] = "admin"


_switch = msgspec.json.Decoder(SwitchRequest)
_rollback = msgspec.json.Decoder(RollbackRequest)


async def read(app: Mainstay, request: Request, feature: str) -> None:
    """`GET /admin/features/{feature}`: which release is live, which are on trial, and what is switched off."""
    _known(app, feature)
    await request.respond(200, _encode(_standing(app.features.state, feature)), [JSON])


async def switch(app: Mainstay, request: Request, feature: str, limit: int) -> None:
    """`PUT /admin/features/{feature}/switch`. `*` is every feature."""
    _known(app, feature, every=True)
    said: SwitchRequest = decoded(_switch, await request.body(limit=limit), example='{"off": true, "why": "…"}')
    change = Switched(off=said.off, tenant=said.tenant, share=said.share, rungs=said.rungs, why=said.why)
    await asyncio.to_thread(_board(app, said.who).switch, feature, change)
    await request.respond(200, _encode(_standing(app.features.state, feature)), [JSON])


async def roll_back(app: Mainstay, request: Request, feature: str, limit: int) -> None:
    """`POST /admin/features/{feature}/rollback`: 409 where there is nothing to go back to."""
    _known(app, feature)
    said: RollbackRequest = decoded(_rollback, await request.body(limit=limit), example='{"why": "…"}')
    try:
        await asyncio.to_thread(lambda: _board(app, said.who).roll_back(feature, to=said.to, why=said.why))
    except Refused as error:
        raise HttpError(409, error.what, code="refused") from None
    await request.respond(200, _encode(_standing(app.features.state, feature)), [JSON])


def _board(app: Mainstay, who: str) -> Switchboard:
    return Switchboard(app.releases, who=f"http:{who}", changed=app.follow)


def _known(app: Mainstay, feature: str, *, every: bool = False) -> None:
    features = app.features
    known = {*features.ready, *features.missing, *features.plain, *([EVERY] if every else [])}
    if feature not in known:
        raise HttpError(404, f'there is no feature "{feature}"; {nearest(feature, known)}', code="unknown_feature")


def _standing(state: State, feature: str) -> dict[str, Any]:
    standing = state.standing(feature)
    switches = [{"feature": name, **public(switch)} for (name, _), switch in state.switches.items() if name in (feature, EVERY)]
    return {
        "feature": feature,
        "live": None if standing.live is None else public(standing.live),
        "canary": None if standing.canary is None else public(standing.canary),
        "shadow": None if standing.shadow is None else public(standing.shadow),
        "off": switches,
        "head": state.head,
    }
