"""What is due now and then in a served project, and is done by one of all its processes: canaries are judged, what has expired is
taken back, and questions are answered ahead.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from mainstay.core.errors import MainstayError, Refused
from mainstay.core.release import Ending, TrialBegan
from mainstay.core.seams import Releases
from mainstay.learn.ahead import TOP, possible, state_of
from mainstay.learn.switching import Switchboard
from mainstay.learn.trials import Counted
from mainstay.loading import Features
from mainstay.serve.ready import Ready

if TYPE_CHECKING:
    from mainstay.workshop import Workshop

log = logging.getLogger("mainstay")
LEASE = 10.0  # seconds for which one process does what is due, for all


class App(Protocol):
    """The application, as far as its caretaker needs it."""

    features: Features

    @property
    def releases(self) -> Releases: ...

    @property
    def workshop(self) -> Workshop: ...

    def follow(self) -> None: ...


class Caretaker:
    """Looks after the trials of one project and after what is answered ahead.

    `stand` says how a canary stands, `start` runs something beside all else.
    """

    def __init__(
        self, app: App, *, stand: Callable[[TrialBegan], Counted], start: Callable[[Coroutine[Any, Any, None]], Future[None]]
    ) -> None:
        self._app, self._stand, self._start = app, stand, start
        self._ahead: dict[str, str] = {}  # what was last answered ahead, by feature
        self._answering: Future[None] | None = None

    def tend(self) -> None:
        """Answer ahead what is due; judge the canaries, and take back what has expired. Raises `MainstayError`."""
        self._answer_what_is_due()
        standings = self._app.features.state.standings.values()
        timed = any(s.canary or s.shadow or (s.live is not None and s.live.expires) for s in standings)
        if timed and self.leads("tend"):
            self._end_trials()

    def _end_trials(self) -> None:
        board = Switchboard(self._app.releases, who="mainstay", changed=self._app.follow)
        failed: MainstayError | None = None
        with contextlib.suppress(Refused):  # somebody was faster
            board.expire(time.time())
        for feature, standing in self._app.features.state.standings.items():
            try:
                if standing.canary is not None:
                    self._judge(feature, standing.canary, board)
            except Refused:
                continue
            except MainstayError as error:  # which must not keep the others from being judged
                failed = error
        if failed is not None:
            raise failed

    def _judge(self, feature: str, canary: TrialBegan, board: Switchboard) -> None:
        """Promote a canary or roll it back, if its records say so."""
        decision = self._stand(canary).decision
        if decision.outcome != "go_on":
            ending: Ending = "promoted" if decision.outcome == "promote" else "rolled_back"
            board.end_trial(feature, canary, ending, decision.sentence)
            log.warning("the canary of %s was %s: %s", feature, ending.replace("_", " "), decision.sentence)

    def _answer_what_is_due(self) -> None:
        """Answer anew what a release, a source, or its age asks for: one feature at a time."""
        if self._answering is not None and not self._answering.done():
            return
        for name, ready in self._app.features.ready.items():
            if ready.feature.cache.ahead is None or possible(ready):
                continue
            state = state_of(ready, time.time())
            if self._ahead.get(name) == state or not self.leads("ahead"):
                continue
            self._ahead[name] = state
            if self._app.releases.attestation(state) is None:
                self._answering = self._start(self._answer_ahead(name, ready, state))
                return

    async def _answer_ahead(self, name: str, ready: Ready, state: str) -> None:
        asked = ready.feature.cache.ahead
        made = await self._app.workshop.ahead(
            name,
            top=asked if isinstance(asked, int) else TOP,
            listed=ready.ahead or None,
            where=f"the list of {name}",
            evidence=state,
            go_on=lambda: self.leads("ahead"),
        )
        log.info("%s: %s", name, made.sentence)

    def leads(self, what: str) -> bool:
        """Whether this process, of all that serve the project, is the one that does this for the next seconds."""
        return self._app.releases.lease(what, f"{os.getpid()} {id(self._app)}", LEASE)
