"""`/admin/keys`: the keys of callers, made, listed and revoked as `mainstay keys` does it.

An administrator of one tenant makes, sees and revokes that tenant's keys, none of which opens more than its own.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from mainstay.app import Mainstay
from mainstay.at_rest import without_price
from mainstay.core.errors import BadRequest, NotFound
from mainstay.core.keys import Key, Role
from mainstay.core.units import Seconds
from mainstay.doors.http.admin import board
from mainstay.doors.http.features import Short, decoded, read_seconds
from mainstay.doors.http.keys import forbidden
from mainstay.doors.http.wire import JSON, HttpError, Request
from mainstay.learn import keyring

_encode = msgspec.json.Encoder().encode
EXAMPLE = '{"tenant": "acme", "expires": "90d", "limits": {"per_day": ["5 USD"]}}'


class KeyRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /admin/keys`."""

    tenant: Annotated[Short, Meta(description="Whose calls are made with it; `*` names the tenant with each call.")]
    roles: Annotated[tuple[Role, ...], Meta(min_length=1, description="What it may do.")] = ("caller",)
    features: Annotated[
        tuple[Short, ...], Meta(description="Only these features, and what else is named; none is everything.")
    ] = ()
    models: Annotated[tuple[Short, ...], Meta(description="Only these models by their own names, and what else is named.")] = ()
    expires: Annotated[Seconds | None, Meta(description='After how long it opens nothing any more: "90d"; by default never.')] = (
        None
    )
    limits: Annotated[
        dict[str, tuple[Short | int, ...]],
        Meta(description='What may be spent or asked with it: `{"per_day": ["5 USD", 1000]}`.'),
    ] = {}
    name: Annotated[str, Meta(max_length=200, description="What you call it.")] = ""
    who: Annotated[Short, Meta(description="Who does it, as the application names them.")] = "admin"


_request = msgspec.json.Decoder(KeyRequest, dec_hook=read_seconds)


async def create(app: Mainstay, request: Request, limit: int) -> None:
    """`POST /admin/keys`: 201, with the whole `key`, which is given once."""
    said: KeyRequest = decoded(_request, await request.body(limit=limit), example=EXAMPLE)
    _check_reach(request.key, said)
    for param, given, known in (("features", said.features, _features(app)), ("models", said.models, set(app.features.plain))):
        for name in given:
            if name not in known:
                raise HttpError(400, f'there is no {param[:-1]} "{name}"', code="invalid_request", param=param)
    try:
        token, key = await asyncio.to_thread(
            lambda: keyring.create(
                board(app, request, said.who),
                tenant=said.tenant,
                roles=said.roles,
                features=said.features,
                models=said.models,
                expires=None if said.expires is None else time.time() + said.expires,
                limits=said.limits,
                name=said.name,
                unpriced=without_price(app.root, app.state) if said.limits else {},
            )
        )
    except BadRequest as error:
        what = f"{error.what}; {error.next}" if error.next else error.what
        raise HttpError(400, what, code="invalid_request", param=error.param) from None
    await request.respond(201, _encode({**keyring.shown(key), "key": token}), [JSON, (b"cache-control", b"no-store")])


async def read(app: Mainstay, request: Request) -> None:
    """`GET /admin/keys`: those that were not revoked, without their secrets."""
    found = [keyring.shown(key) for key in app.keys.values() if request.key is None or request.key.speaks_for(key.tenant)]
    await request.respond(200, _encode({"data": found}), [JSON])


async def revoke(app: Mainstay, request: Request, id: str) -> None:
    """`DELETE /admin/keys/{id}`: 404 where there is none, or it was revoked before."""
    key = app.keys.get(id)
    try:
        if key is not None and request.key is not None and not request.key.speaks_for(key.tenant):
            raise NotFound("that key is another tenant's")
        await asyncio.to_thread(lambda: keyring.revoke(board(app, request, "admin"), id))
    except NotFound:
        raise HttpError(404, f'there is no key "{id[:200]}"', code="unknown_key") from None
    await request.respond(200, _encode({"id": id, "revoked": True}), [JSON])


def _features(app: Mainstay) -> set[str]:
    return {*app.features.ready, *app.features.missing}


def _check_reach(key: Key | None, said: KeyRequest) -> None:
    """Raises `HttpError` 403 where a key would be made that opens more than the one that makes it."""
    if key is None:
        return
    if not key.speaks_for(said.tenant):
        raise forbidden(f"the key {key.id} administers another tenant", code="tenant_not_allowed", param="tenant")
    wide = bool(key.features or key.models) and not (said.features or said.models)
    for param, names in (("features", said.features), ("models", said.models)):
        if wide or not all(key.uses(name, model=param == "models") for name in names):
            raise forbidden(f"the key {key.id} may not use that much itself", code="feature_not_allowed", param=param)
