"""Making and revoking the keys of callers: changes of the chain like any other, so they are audited, and bite everywhere at once.

The secret is given back once and kept nowhere. Needs nothing but the store.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

import msgspec

from mainstay.core.errors import BadRequest, NotFound, nearest
from mainstay.core.keys import ID_BYTES, ROLES, SECRET_BYTES, Key, Role, digest_of, limits_of, token_of
from mainstay.core.release import EVERY, KeyCreated, KeyRevoked, State
from mainstay.learn.switching import Switchboard
from mainstay.serve.limiting import has_money_cap

LONGEST = 200  # characters of a name


def create(
    board: Switchboard,
    *,
    tenant: str,
    roles: Sequence[Role] = ("caller",),
    features: Sequence[str] = (),
    models: Sequence[str] = (),
    expires: float | None = None,
    limits: Mapping[str, tuple[str | int, ...]] | None = None,
    name: str = "",
    where: str = "limits",
    unpriced: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[str, Key]:
    """Make a key; gives what its holder has to send, and the key as it is kept. Raises `BadRequest`.

    `unpriced` is what features and models ask that has no known price, by their names, each with what to type.
    """
    for param, text in (("tenant", tenant), ("name", name or "-")):
        if not 0 < len(text) <= LONGEST or not text.isprintable():
            raise BadRequest(f"a {param} has 1 to {LONGEST} characters that can be printed", param=param)
    secret, id = secrets.token_hex(SECRET_BYTES), secrets.token_hex(ID_BYTES)
    made = KeyCreated(
        id=id,
        tenant=tenant,
        sha256=digest_of(secret),
        roles=tuple([role for role in ROLES if role in roles]),
        features=tuple(dict.fromkeys(features)),
        models=tuple(dict.fromkeys(models)),
        expires=expires,
        limits=limits_of(limits or {}, where=where),
        name=name,
    )
    for asked, next in uncounted(made, unpriced or {}).items():
        what = f"what {asked} costs is not known, and this key limits money: it would never be asked"
        raise BadRequest(what, param="limits", where=where, next=f"{next}; or name the features and models that the key may use")
    board.add(EVERY, made, lambda state: _unused(id, state))
    return token_of(id, secret), made


def revoke(board: Switchboard, id: str, *, why: str = "") -> None:
    """Revoke a key, for good. Raises `NotFound` where there is none, or it was revoked before."""
    board.add(EVERY, KeyRevoked(id=id, why=why), lambda state: _known(id, state))


def uncounted(key: Key, unpriced: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What this key limits the money for, and nobody can count; each with what to type."""
    if key.caps is None or not has_money_cap(key.caps):
        return {}
    usable = [asked for name, asked in unpriced.items() if key.uses(name) or key.uses(name, model=True)]
    return {name: next for asked in usable for name, next in asked.items()}


def shown(key: Key) -> dict[str, object]:
    """A key as lists show it."""
    every = msgspec.to_builtins(msgspec.structs.asdict(key))
    return {name: value for name, value in every.items() if name != "sha256"}


def _unused(id: str, state: State) -> None:
    if id in state.keys:
        raise BadRequest("two keys cannot have one id; make it again")


def _known(id: str, state: State) -> None:
    if id not in state.keys:
        raise NotFound(f'there is no key "{id}"; {nearest(id, state.keys)}', next="mainstay keys list")
