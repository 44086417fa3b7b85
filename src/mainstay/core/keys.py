"""Keys of callers: for which tenant one speaks, what it may do there, and until when.

What a caller sends is `ms_<id>_<secret>`. The id is public and names the key in records, limits and the audit; of the secret only
its SHA-256 is kept. It is 32 random bytes, so nobody finds it from that. Nothing here knows a clock or a store.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from mainstay.core.errors import BadRequest
from mainstay.core.limits import WINDOWS, Caps
from mainstay.core.project import TenantSpec

Role = Literal["caller", "reviewer", "developer", "admin"]
Right = Literal["ask", "score", "read", "measure", "change"]

EVERY_TENANT = "*"  # a key that names the tenant with each call, as the operator's own key does
ID_BYTES, SECRET_BYTES = 6, 32
MAY: Mapping[Role, tuple[Right, ...]] = {
    "caller": ("ask", "score", "read"),
    "reviewer": ("ask", "score", "read"),
    "developer": ("read", "measure"),
    "admin": ("change",),
}
ROLES: tuple[Role, ...] = tuple(MAY)
LIMITS = (*[f"per_{window}" for window in WINDOWS], "at_once")
_TOKEN = re.compile(r"ms_([0-9a-f]{12})_([0-9a-f]{64})")


class Key(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key, without its secret.

    One that names features or models may use these and nothing else. `expires` is in seconds since 1970. `limits` are caps as
    files write them, by `per_minute`, `per_hour`, `per_day`, `per_month` or `at_once`.
    """

    id: str
    tenant: str
    sha256: str
    roles: tuple[Role, ...] = ("caller",)
    features: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    expires: float | None = None
    limits: dict[str, tuple[str | int, ...]] = {}
    name: str = ""

    def may(self, right: Right) -> bool:
        """Whether one of its roles allows this."""
        return any(right in MAY[role] for role in self.roles)

    def uses(self, name: str, *, model: bool = False) -> bool:
        """Whether it may use the feature, or the model, of that name."""
        if not self.features and not self.models:
            return True
        return name in (self.models if model else self.features)

    def speaks_for(self, tenant: str) -> bool:
        """Whether what belongs to that tenant is its own."""
        return self.tenant in (tenant, EVERY_TENANT)

    def opened_by(self, secret: str) -> bool:
        """Whether this is its secret. Digests are compared, so that the time it takes tells nothing."""
        return hmac.compare_digest(digest_of(secret), self.sha256)

    def expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= now

    @property
    def caps(self) -> TenantSpec | None:
        """Its own limits, in the place of what `[limits]` says of every key; None where it has none."""
        if not self.limits:
            return None
        windows: dict[str, Any] = {name: Caps.parse(values) for name, values in self.limits.items() if name != "at_once"}
        at_once = self.limits.get("at_once")
        return TenantSpec(**windows, at_once=None if at_once is None else int(at_once[0]))


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def token_of(id: str, secret: str) -> str:
    """What a caller sends."""
    return f"ms_{id}_{secret}"


def parts_of(token: str) -> tuple[str, str] | None:
    """The id and the secret of what a caller sent; None for what does not look like one of these keys."""
    found = _TOKEN.fullmatch(token)
    return None if found is None else (found[1], found[2])


def limits_of(written: Mapping[str, tuple[str | int, ...]], *, where: str = "limits") -> dict[str, tuple[str | int, ...]]:
    """Limits as a key keeps them. Raises `BadRequest` for what is none."""
    example = '--limit per_day="5 USD"' if where.startswith("--") else '{"per_day": ["5 USD", 1000]}'
    for name, values in written.items():
        try:
            if name not in LIMITS:
                raise ValueError(f"a key is limited {', '.join(LIMITS)}, not {name}")
            if name == "at_once":
                _at_once(values)
            else:
                Caps.parse(values)
        except ValueError as error:
            raise BadRequest(str(error), param=f"limits.{name}", where=where, next=example) from None
    return {name: tuple(values) for name, values in written.items()}


def _at_once(values: tuple[str | int, ...]) -> None:
    if len(values) != 1 or not str(values[0]).isascii() or not str(values[0]).isdigit() or int(values[0]) < 1:
        raise ValueError(f"expected a number of calls above 0, got {', '.join(map(str, values))}")
