"""One family of errors. Each says what went wrong, where, and the next thing to type.

    MainstayError
    ├── ConfigError          a file of the project is wrong: settings, feature, prompt, rules, schema
    ├── NotFound             no such feature, model, answer or part
    │   └── NotReleased      the feature is there, and no release of it is live
    ├── Refused              a change of what is served that the gate, or the state of things, does not allow
    ├── BadRequest           a door was asked something that it cannot do; `param` names the field
    ├── StoreError           a file or database that we own cannot be read or written
    ├── SourceError          a source or database of the team cannot be read, or not in time
    ├── RungFailed           a rung's own template, rules or function failed
    └── ModelError           a provider gave no usable answer
        ├── Unsupported      we cannot say this on that provider's wire; `feature` names it
        ├── Rejected         the provider read the request and will not serve it (4xx)
        ├── Unauthorized     the key is missing, wrong or not allowed (401, 403)
        ├── RateLimited      too many requests (429)
        ├── Overloaded       the provider failed (5xx, 529)
        ├── Unreachable      no connection
        │   └── Lost         it broke before the answer began: the request was sent, and may cost
        ├── Tripped          our circuit breaker for this model is open; nothing was sent
        ├── OverLimit        a limit of ours on money, calls or tokens would be passed; nothing was sent
        ├── TooSlow          a limit of the attempt passed
        ├── Garbled          the answer is not what the wire promises
        ├── CutOff           the stream ended before its end mark
        └── Empty            a complete answer with nothing in it

What is expected (a refusal, a spent budget, a late model) is a value, not one of these: providers raise
`ModelError`, rungs without a model `RungFailed`, and `serve/generation.py` turns each into a line of the record in one place.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from mainstay.core.reasons import Reason


class MainstayError(Exception):
    """Anything that Mainstay raises on purpose: `what`, `where` it happened, and what to type `next`."""

    def __init__(self, what: str, *, where: str = "", next: str = "") -> None:
        self.what, self.where, self.next = what, where, next
        super().__init__(what, where, next)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  next: {self.next}" if self.next else head


class ConfigError(MainstayError):
    """A file of the project is wrong. `where` is `file:line key.path`."""


class NotFound(MainstayError):
    """There is nothing by that name."""


class NotReleased(NotFound):
    """The feature is there, but nothing of it may be served."""


class Refused(MainstayError):
    """A change of what is served is not allowed: no evidence bears it, or something else was faster."""


class BadRequest(MainstayError):
    """A request that a door cannot serve; `param` names the field at fault."""

    def __init__(self, what: str, *, param: str | None = None, where: str = "", next: str = "") -> None:
        super().__init__(what, where=where, next=next)
        self.param = param


class StoreError(MainstayError):
    """A file or database that Mainstay owns cannot be read or written."""


class SourceError(MainstayError):
    """What a feature's knowledge comes from (files, a database, an address) cannot be read, or not in time."""


class RungFailed(MainstayError):
    """A rung's own template, rules or function failed; the next rung is tried."""

    kind = "failed"


class ModelError(MainstayError):
    """A provider gave no usable answer.

    `status` is the HTTP status when there was one, `code` the provider's own word for the error,
    `retry_after` seconds that the provider asks us to wait, `provider` which adapter says so.
    """

    kind = "failed"
    retryable = False

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        next: str = "",
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(what, where=where, next=next)
        self.status, self.code, self.retry_after = status, code, retry_after


class Unsupported(ModelError):
    """The request uses a feature that this provider's adapter cannot carry; nothing was sent."""

    kind = "unsupported"

    def __init__(self, feature: str, *, where: str = "") -> None:
        super().__init__(f"{feature} is not supported here", where=where)
        self.feature = feature


class Rejected(ModelError):
    """The provider read the request and will not serve it: too long, malformed, filtered, unknown model."""

    kind = "rejected"


class Unauthorized(ModelError):
    """The provider does not accept the key."""

    kind = "unauthorized"


class RateLimited(ModelError):
    """The provider says: too many requests."""

    kind = "rate_limited"
    retryable = True


class Overloaded(ModelError):
    """The provider failed on its own side."""

    kind = "overloaded"
    retryable = True


class Unreachable(ModelError):
    """No connection, or it broke before the answer began."""

    kind = "unreachable"
    retryable = True


class Lost(Unreachable):
    """The connection broke before the answer began. The request was sent: the provider may go on with it, and charge for it."""


class Tripped(ModelError):
    """Our circuit breaker for this model is open; nothing was sent."""

    kind = "breaker_open"


class Busy(ModelError):
    """Everything is taken, and a place would not come free in time; nothing was sent."""

    kind = "busy"


class Cold(ModelError):
    """The model was not asked for long, and would take longer to start than there is time; nothing was sent."""

    kind = "cold"


class OverLimit(ModelError):
    """A limit on what may be spent or asked would be passed; nothing was sent. `reason` is what the answer gives for it."""

    def __init__(self, what: str, reason: Reason) -> None:
        super().__init__(what)
        self.reason, self.kind = reason, reason.value


class TooSlow(ModelError):
    """A limit of the attempt passed: its first word, its whole time, or the call's deadline."""

    kind = "too_slow"


class Garbled(ModelError):
    """The answer is not what the wire promises."""

    kind = "garbled"
    retryable = True


class CutOff(ModelError):
    """The stream ended before its end mark."""

    kind = "cut_off"
    retryable = True


class Empty(ModelError):
    """The provider answered completely, with nothing in it."""

    kind = "empty"
    retryable = True


def nearest(name: str, names: Iterable[str]) -> str:
    """`did you mean "ladder"?` or, where nothing is near, the names there are."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(known)}" if known else "there are none"
