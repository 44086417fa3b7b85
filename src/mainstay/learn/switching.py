"""What waits for no gate: ending a trial, rolling back, switching off and on.

Each is one link of the chain, made in one step with a look at what it follows. Needs nothing but the store, so it works beside a
project that cannot be loaded.
"""

from __future__ import annotations

from collections.abc import Callable

from mainstay.core.errors import BadRequest, Refused
from mainstay.core.release import Change, Ending, Link, RolledBack, State, Switched, TrialBegan, TrialEnded, WentLive, fold
from mainstay.core.seams import Releases


class Switchboard:
    """Changes what is served. `changed` is called after each change."""

    def __init__(self, store: Releases, *, who: str, changed: Callable[[], None] = lambda: None) -> None:
        self._store, self._who, self._changed = store, who, changed

    def state(self) -> State:
        """What all changes until now amount to."""
        return fold(self._store.links())

    def add(self, feature: str, change: Change, check: Callable[[State], None] = lambda state: None) -> Link:
        """Make a change, if `check` of the state that it follows does not raise."""
        link = self._store.add(feature, change, who=self._who, check=check)
        self._changed()
        return link

    def end_trial(self, feature: str, trial: TrialBegan, ending: Ending, why: str) -> Link:
        """End a trial, if it has not been ended by somebody else."""

        def check(state: State) -> None:
            standing = state.standing(feature)
            if trial.id not in [t.id for t in (standing.canary, standing.shadow) if t is not None]:
                raise Refused("this trial has ended already", where=feature)

        return self.add(feature, TrialEnded(id=trial.id, ending=ending, why=why), check)

    def end_shadow(self, feature: str, *, why: str = "") -> Link:
        """End the shadow, of which no user sees anything."""
        shadow = self.state().standing(feature).shadow
        if shadow is None:
            raise Refused(f'"{feature}" has no shadow', next=f"mainstay report {feature}")
        return self.end_trial(feature, shadow, "stopped", why or "by hand")

    def roll_back(self, feature: str, *, to: str | None = None, why: str = "") -> Link:
        """End what was begun last: a canary if there is one, else make the release before the live one live again."""
        standing = self.state().standing(feature)
        if standing.canary is not None and to is None:
            return self.end_trial(feature, standing.canary, "rolled_back", why or "by hand")
        live = None if standing.live is None else standing.live.digest
        past = [entry.digest for entry in standing.past if not entry.override and entry.digest != live]
        found = next((digest for digest in reversed(past) if to is None or digest.startswith(to)), None)
        if found is None:
            what = f'"{feature}" had no release "{to}" live before' if to else f'"{feature}" has no earlier release'
            raise Refused(what, next=f"mainstay off {feature}")

        def check(state: State) -> None:
            now = state.standing(feature).live
            if (None if now is None else now.digest) != live:
                raise Refused("another release went live in the meantime", where=feature, next=f"mainstay report {feature}")

        return self.add(feature, RolledBack(to=found, why=why), check)

    def switch(self, feature: str, change: Switched) -> Link:
        """Switch a feature off or on."""
        if change.off and not 0 < change.share <= 1:
            raise BadRequest("a share is more than nothing and at most everything", param="share", next="--share 50%")
        return self.add(feature, change)

    def expire(self, now: float) -> None:
        """Take back overrides and trials whose time is over."""
        for feature, standing in self.state().standings.items():
            live = standing.live
            if live is not None and live.expires is not None and live.expires <= now:
                proven = next((p.digest for p in reversed(standing.past) if not p.override), None)
                if proven is not None:
                    self.add(feature, RolledBack(to=proven, why="the override expired"), _still(feature, live))
                elif (feature, None) not in self.state().switches:
                    self.switch(feature, Switched(off=True, why="the override expired, and nothing was live before"))
            for trial in (standing.canary, standing.shadow):
                if trial is not None and trial.until <= now:
                    ending: Ending = "rolled_back" if trial.kind == "canary" else "stopped"
                    self.end_trial(feature, trial, ending, "its time was over")


def _still(feature: str, live: WentLive) -> Callable[[State], None]:
    def check(state: State) -> None:
        if state.standing(feature).live != live:
            raise Refused("something else went live in the meantime", where=feature)

    return check
