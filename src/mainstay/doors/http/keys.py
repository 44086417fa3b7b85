"""Who sent a request, and what that may do: the operator's own key, a key of a tenant, or, where there is no key, this machine.

The operator's keys (`MAINSTAY_API_KEY`, `MAINSTAY_ADMIN_KEY`) have no tenant: the body of a call names it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from mainstay.core.call import Call
from mainstay.core.keys import EVERY_TENANT, Key, Right, parts_of
from mainstay.doors.http.wire import HttpError, Request

NOBODYS = "default"  # the tenant of a call for which nobody names one


def right_to(request: Request) -> Right:
    """What a request asks to be allowed."""
    path = request.path
    if path == "/v1/chat/completions" or path.startswith("/v1/features/"):
        return "ask"
    if path.startswith("/admin/"):
        return "change"
    if path == "/metrics":
        return "measure"
    return "score" if path.startswith("/v1/answers/") and path.endswith("/scores") else "read"


def sent_with(request: Request) -> list[bytes]:
    """The secrets that came, in either of the ways that SDKs have."""
    scheme, _, bearer = request.headers.get(b"authorization", b"").strip().partition(b" ")
    given = [bearer.strip() if scheme.lower() == b"bearer" else b"", request.headers.get(b"x-api-key", b"").strip()]
    return [secret for secret in given if secret]


def opened(secrets: list[bytes], keys: Mapping[str, Key]) -> Key | None:
    """The key that one of these secrets opens. Raises `HttpError` 401 for one that is none any more, or has expired."""
    for secret in secrets:
        parts = parts_of(secret.decode("latin-1"))
        if parts is None:
            continue
        key = keys.get(parts[0])
        if key is None or not key.opened_by(parts[1]):
            raise unauthorized("the key is wrong, or was revoked")
        if key.expired(time.time()):
            raise unauthorized(f"the key {key.id} has expired")
        return key
    return None


def unauthorized(what: str) -> HttpError:
    """401, with the way to do better."""
    headers = [(b"www-authenticate", b"Bearer")]
    return HttpError(401, f"{what}; send `authorization: Bearer …`", code="invalid_api_key", headers=headers)


def forbidden(what: str, *, code: str, param: str | None = None) -> HttpError:
    """403: the key is good, and does not open this."""
    return HttpError(403, what, code=code, param=param)


def check_right(key: Key, right: Right) -> None:
    """Raises `HttpError` 403 where none of the key's roles allows it."""
    if not key.may(right):
        what = f"the key {key.id} has the role {' and '.join(key.roles)}, which may not {_DOING[right]}"
        raise forbidden(what, code="role_not_allowed")


def tenant_of(request: Request, named: str | None) -> str:
    """Whose call it is. Raises `HttpError` 403 for a tenant that is not the key's."""
    key = request.key
    if key is None or key.tenant == EVERY_TENANT:
        return named or NOBODYS
    if named is not None and named != key.tenant:
        raise forbidden(
            f"the key {key.id} speaks for another tenant than the one named", code="tenant_not_allowed", param="tenant"
        )
    return key.tenant


def check_use(request: Request, name: str, *, model: bool, param: str) -> None:
    """Raises `HttpError` 403 for a feature or a model that the key may not use."""
    key = request.key
    if key is not None and not key.uses(name, model=model):
        kind = "model" if model else "feature"
        raise forbidden(f'the key {key.id} may not use the {kind} "{name[:200]}"', code=f"{kind}_not_allowed", param=param)


def usable(request: Request, names: Iterable[str], *, model: bool = False) -> list[str]:
    """Those of these features, or models, that the key may use."""
    key = request.key
    return [name for name in names if key is None or key.uses(name, model=model)]


def reads(request: Request, call: Call) -> bool:
    """Whether what became of this call is for the eyes of whoever sent the request."""
    key = request.key
    return key is None or (key.speaks_for(call.tenant) and key.uses(call.feature, model=call.request is not None))


def key_id(request: Request) -> str | None:
    """What a call notes of the key that it came with."""
    return None if request.key is None else request.key.id


_DOING: dict[Right, str] = {
    "ask": "ask",
    "score": "score",
    "read": "read",
    "measure": "read metrics",
    "change": "administer",
}
