"""What is served to whom, as the fold of a chain of changes.

A `Release` is a feature frozen with everything that decides what it answers. Which one is live, which are on trial, what is
switched off and which keys callers have is said by changes alone: each is a `Link` of a hash chain, and `State` is what they
amount to. Nothing here touches a disk or a clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from mainstay.core.call import Call
from mainstay.core.errors import BadRequest
from mainstay.core.keys import Key
from mainstay.core.project import Model

EVERY = "*"  # in place of a feature's name: all of them
START = "0" * 64  # what the first link follows
LARGEST_TRIAL = 0.5  # a canary's control is as large as the canary

TrialKind = Literal["canary", "shadow"]
Ending = Literal["promoted", "rolled_back", "stopped"]


class Release(Struct, frozen=True, kw_only=True):
    """A feature frozen: the bytes of its files, and its models with their settings (never a key).

    `asleep` are the models that it was evaluated without, because no key was set. `imports` are the hashes of Python files of the
    project that its code reaches, by their path; `version` is Mainstay's.
    """

    digest: str
    feature: str
    files: dict[str, bytes]
    models: dict[str, Model]
    asleep: tuple[str, ...] = ()
    imports: dict[str, str] = {}
    version: str
    at: float
    who: str
    commit: str = ""


class WentLive(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="live"):
    """A release answers from now on.

    `report` is the evidence, and `canary` the trial that it was promoted from; `override` says why it went live without, and
    `expires` until when.
    """

    digest: str
    report: str | None = None
    seal: str = ""
    canary: str = ""
    override: str = ""
    expires: float | None = None


class TrialBegan(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="trial"):
    """A release is tried on a share of the calls: as a canary that answers them, or as a shadow that nobody sees."""

    id: str
    kind: TrialKind
    digest: str
    share: float
    until: float
    report: str | None = None
    seal: str = ""


class TrialEnded(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="trial_ended"):
    """A trial is over. A promoted canary is live from then on."""

    id: str
    ending: Ending
    why: str = ""


class RolledBack(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="rolled_back"):
    """An earlier release is live again."""

    to: str
    why: str = ""


class Switched(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="switched"):
    """Something was switched off or on. `rungs` says what goes: those that need a model, or all but the fixed message."""

    off: bool
    tenant: str | None = None
    share: float = 1.0
    rungs: Literal["models", "all"] = "models"
    why: str = ""


class KeyCreated(Key, frozen=True, kw_only=True, omit_defaults=True, tag="key_created"):
    """A key was made, and given to somebody."""


class KeyRevoked(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="key_revoked"):
    """A key opens nothing from now on."""

    id: str
    why: str = ""


Change = WentLive | TrialBegan | TrialEnded | RolledBack | Switched | KeyCreated | KeyRevoked


class Link(Struct, frozen=True, kw_only=True):
    """One change in the chain: who made it, when (seconds since 1970), on which feature, and the hash that seals it.

    `hash` is the SHA-256 of the link without it, `before` that of the link in front.
    """

    number: int
    at: float
    who: str
    feature: str
    change: Change
    before: str
    hash: str = ""

    def sealed(self) -> Link:
        """The link with its hash."""
        return msgspec.structs.replace(self, hash=self.digest())

    def digest(self) -> str:
        """The hash that this link has to have."""
        content = msgspec.json.encode(msgspec.structs.replace(self, hash=""), order="sorted")
        return hashlib.sha256(content).hexdigest()


class Attestation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Evidence that something was tried with a release: a drill, a stress test, a switch, a calibration.

    `passed` is how it went, `what` says it in a sentence. For what concerns no release in particular `release` is empty.
    """

    id: str
    kind: str
    feature: str
    release: str = ""
    passed: bool
    at: float
    who: str
    what: str = ""


class Standing(Struct, frozen=True, kw_only=True):
    """What is served for one feature. `past` are the releases that were live before, the latest last."""

    live: WentLive | None = None
    past: tuple[WentLive, ...] = ()
    canary: TrialBegan | None = None
    shadow: TrialBegan | None = None

    def with_live(self, live: WentLive) -> Standing:
        """The standing after that release went live."""
        past = self.past if self.live is None else (*self.past, self.live)
        return msgspec.structs.replace(self, live=live, past=past)


class State(Struct, frozen=True, kw_only=True):
    """What all changes until now amount to. `head` is the hash of the last one, `number` how many there were.

    `keys` are those that were not revoked, by their ids. `locked` says that there was a key once: from then on one is asked for,
    also when the last one is revoked or has expired.
    """

    standings: Mapping[str, Standing] = {}
    switches: Mapping[tuple[str, str | None], Switched] = {}
    keys: Mapping[str, Key] = {}
    locked: bool = False
    number: int = 0
    head: str = START

    def standing(self, feature: str) -> Standing:
        """What is served for that feature."""
        return self.standings.get(feature, Standing())

    def after(self, link: Link) -> State:
        """The state once this change is made."""
        change, standing = link.change, self.standing(link.feature)
        base = msgspec.structs.replace(self, number=link.number, head=link.hash)
        if isinstance(change, Switched):
            switches = {key: value for key, value in self.switches.items() if key != (link.feature, change.tenant)}
            if change.off:
                switches[link.feature, change.tenant] = change
            return msgspec.structs.replace(base, switches=switches)
        if isinstance(change, KeyCreated):
            return msgspec.structs.replace(base, keys={**self.keys, change.id: change}, locked=True)
        if isinstance(change, KeyRevoked):
            return msgspec.structs.replace(base, keys={id: key for id, key in self.keys.items() if id != change.id})
        return msgspec.structs.replace(base, standings={**self.standings, link.feature: _moved(standing, change)})

    def off(self, call: Call) -> Switched | None:
        """The widest switch that this call is off by; None where it is on. Only users' calls, their shadows, and
        what is answered ahead of them are switched."""
        if not self.switches or call.origin not in ("user", "shadow", "ahead"):
            return None
        found: Switched | None = None
        for feature in (EVERY, call.feature):
            for tenant in (None, call.tenant):
                switch = self.switches.get((feature, tenant))
                if switch is not None and portion(f"switch {feature}", call) < switch.share:
                    found = switch if found is None or switch.rungs == "all" else found
        return found


def _moved(standing: Standing, change: Change) -> Standing:
    replace = msgspec.structs.replace
    if isinstance(change, WentLive):
        return replace(standing.with_live(change), canary=None)  # which was compared with another release
    if isinstance(change, TrialBegan):
        return replace(standing, **{change.kind: change})
    if isinstance(change, RolledBack):
        kept = tuple([past for past in standing.past if past.digest != change.to])
        times = [past for past in reversed(standing.past) if past.digest == change.to]
        to = next((past for past in times if not past.override), times[0] if times else None)
        return replace(standing, live=to, past=kept, canary=None)
    if isinstance(change, TrialEnded):
        trial = next((t for t in (standing.canary, standing.shadow) if t is not None and t.id == change.id), None)
        if trial is None:
            return standing
        ended = replace(standing, **{trial.kind: None})
        if change.ending != "promoted":
            return ended
        return ended.with_live(WentLive(digest=trial.digest, report=trial.report, seal=trial.seal, canary=trial.id))
    return standing


def fold(links: Iterable[Link], state: State | None = None) -> State:
    """The state that these changes lead to, from nothing or from an earlier state."""
    state = state or State()
    for link in links:
        state = state.after(link)
    return state


def broken(links: Iterable[Link]) -> Link | None:
    """The first link whose seal does not fit, or that does not follow the one before it; None where the chain is whole."""
    before = START
    for number, link in enumerate(links, 1):
        if link.before != before or link.number != number or link.hash != link.digest():
            return link
        before = link.hash
    return None


def portion(purpose: str, call: Call) -> float:
    """Where a call falls between 0 and 1: the same for all calls of one user, or of one session where no user is named."""
    unit = call.user or call.session or call.id
    digest = hashlib.blake2b(f"{purpose}\0{call.tenant}\0{unit}".encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def share_of(text: str, *, most: float = 1.0, where: str = "") -> float:
    """`10%` as 0.1. Raises `BadRequest`, also for nothing and for more than `most`."""
    try:
        share = float(text.strip().removesuffix("%")) / 100 if text.strip().endswith("%") else None
    except ValueError:
        share = None
    if share is None or not 0 < share <= most:
        raise BadRequest(f'a share is written as a percentage of at most {most:.0%}, not "{text}"', where=where, next="10%")
    return share


def public(change: Change) -> dict[str, Any]:
    """A change as tables and logs show it: its kind, and what it says, without seals and digests of secrets."""
    said: dict[str, Any] = msgspec.to_builtins(change)
    kind = said.pop("type")
    return {"change": kind, **{name: value for name, value in said.items() if name not in ("seal", "sha256")}}
