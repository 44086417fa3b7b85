"""`/admin/features/{feature}`: what is served, and the switch that waits for nothing. Each change is a link of the audit chain.

It takes a key of its own, `MAINSTAY_ADMIN_KEY`, or one with the role `admin`; where only callers have one, nobody comes in here.
An administrator of one tenant sees and switches what is that tenant's, and nothing else. What is changed is what
`mainstay off`, `on` and `rollback` change, and every process obeys it within a second.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from mainstay.app import Mainstay
from mainstay.core.errors import Refused, nearest
from mainstay.core.keys import EVERY_TENANT
from mainstay.core.release import EVERY, Switched, public
from mainstay.doors.http import keys
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
    _known(app, request, feature)
    await _respond(app, request, feature)


async def switch(app: Mainstay, request: Request, feature: str, limit: int) -> None:
    """`PUT /admin/features/{feature}/switch`. `*` is every feature."""
    _known(app, request, feature, every=True)
    said: SwitchRequest = decoded(_switch, await request.body(limit=limit), example='{"off": true, "why": "…"}')
    if request.key is not None and not request.key.speaks_for(said.tenant or EVERY_TENANT):
        what = f"the key {request.key.id} administers one tenant; name it as `tenant`"
        raise keys.forbidden(what, code="tenant_not_allowed", param="tenant")
    change = Switched(off=said.off, tenant=said.tenant, share=said.share, rungs=said.rungs, why=said.why)
    await asyncio.to_thread(board(app, request, said.who).switch, feature, change)
    await _respond(app, request, feature)


async def roll_back(app: Mainstay, request: Request, feature: str, limit: int) -> None:
    """`POST /admin/features/{feature}/rollback`: 409 where there is nothing to go back to."""
    _known(app, request, feature)
    if request.key is not None and request.key.tenant != EVERY_TENANT:
        raise keys.forbidden(
            f"the key {request.key.id} administers one tenant, and a release is for all", code="tenant_not_allowed"
        )
    said: RollbackRequest = decoded(_rollback, await request.body(limit=limit), example='{"why": "…"}')
    try:
        await asyncio.to_thread(lambda: board(app, request, said.who).roll_back(feature, to=said.to, why=said.why))
    except Refused as error:
        raise HttpError(409, error.what, code="refused") from None
    await _respond(app, request, feature)


def board(app: Mainstay, request: Request, who: str) -> Switchboard:
    """Makes changes for whoever sent the request: under the id of its key, and who they say that they are."""
    key = keys.key_id(request)
    return Switchboard(app.releases, who=f"http:{who}" if key is None else f"key:{key}:{who}", changed=app.follow)


def _known(app: Mainstay, request: Request, feature: str, *, every: bool = False) -> None:
    key = request.key
    if key is not None and not (key.uses(feature) or key.uses(feature, model=True)):
        raise keys.forbidden(f'the key {key.id} may not administer "{feature[:200]}"', code="feature_not_allowed")
    features = app.features
    known = {*features.ready, *features.missing, *features.plain, *([EVERY] if every else [])}
    if feature not in known:
        raise HttpError(404, f'there is no feature "{feature}"; {nearest(feature, known)}', code="unknown_feature")


async def _respond(app: Mainstay, request: Request, feature: str) -> None:
    """What is served for a feature now, as far as it concerns whoever asks."""
    state, key = app.features.state, request.key
    standing = state.standing(feature)
    switches = [
        {"feature": name, **public(switch)}
        for (name, tenant), switch in state.switches.items()
        if name in (feature, EVERY) and (key is None or tenant is None or key.speaks_for(tenant))
    ]
    body = {
        "feature": feature,
        "live": None if standing.live is None else public(standing.live),
        "canary": None if standing.canary is None else public(standing.canary),
        "shadow": None if standing.shadow is None else public(standing.shadow),
        "off": switches,
        "head": state.head,
    }
    await request.respond(200, _encode(body), [JSON])
