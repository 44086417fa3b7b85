"""What near hits need behind the answers: questions that others have answered, and an eye on how many hits were wrong.

`tend` is called now and then by every process that serves. It takes up what was asked before the process began, and what other
processes of the machine have answered since; a little at a time, because answers go first. One process of all counts the live
hits that were answered anew or that users judged. Where with 95 % confidence more of them are wrong than the feature allows, that
is kept as evidence against the measurement which had turned near hits on, and every process obeys within some seconds. Another
measurement (`mainstay learn near`, and the release with its file) turns them on again.

What it does not know: whether a user who disliked an answer would have disliked the answer to his own question as well.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from mainstay.core.errors import StoreError
from mainstay.core.near import verdict_of
from mainstay.core.release import Attestation
from mainstay.core.seams import Cache, Ledger, Releases
from mainstay.learn.doubting import was_wrong
from mainstay.learn.statistics import at_least
from mainstay.serve.nearing import Nearby
from mainstay.serve.ready import Near, Ready

log = logging.getLogger("mainstay.cache")
COUNT = 10.0  # seconds between two counts
HITS = 2_000  # that are counted, the newest
AT_ONCE = 500  # questions that are taken up in one go,
PAUSE, REST = 10, 0.001  # with so many seconds after so many of them, for which the processor is left to others
SURE = 0.975  # of the lower end of an interval of 95 %
KIND = "near"  # of the evidence


class Minding:
    """Looks after the near hits of one process. One thread may call it."""

    def __init__(
        self,
        nearby: Nearby,
        *,
        cache: Cache,
        ledger: Ledger,
        store: Releases,
        leads: Callable[[str], bool],
    ) -> None:
        self._nearby, self._cache, self._ledger, self._store, self._leads = nearby, cache, ledger, store, leads
        self._seen, self._counted, self._trouble = 0, 0.0, ""

    def tend(self, served: Mapping[str, Ready]) -> None:
        """Take up what others have answered, and obey or find out what says that hits are wrong too often. Trouble with a store
        is logged once: who calls has other things to look after.
        """
        try:
            self._tend({name: ready for name, ready in served.items() if ready.near is not None})
            self._trouble = ""
        except StoreError as error:
            if self._trouble != error.what:
                log.error("near hits are not looked after now: %s", error)
            self._trouble = error.what

    def _tend(self, asking: Mapping[str, Ready]) -> None:
        if not asking:
            return
        self._heed(asking)
        self._take_up()
        if time.monotonic() - self._counted >= COUNT and self._leads(KIND):
            self._counted = time.monotonic()
            for name, ready in asking.items():
                if ready.near is not None and ready.near.measurement not in self._nearby.off:
                    self._count(name, ready, ready.near)
            self._heed(asking)

    def _heed(self, asking: Mapping[str, Ready]) -> None:
        off = set()
        for name, ready in asking.items():
            measurement = "" if ready.near is None else ready.near.measurement
            found = self._store.attestation(verdict_of(name, measurement))
            if found is not None:
                off.add(measurement)
                if measurement not in self._nearby.off:
                    log.warning("%s: near hits are off: %s; next: mainstay learn near %s", name, found.what, name)
        self._nearby.off = frozenset(off)

    def _take_up(self) -> None:
        for n, (number, key, question) in enumerate(self._cache.asked(self._seen, AT_ONCE), 1):
            self._seen = number
            if not self._nearby.knows(question.partition, key):
                self._nearby.put(key, question)
                if n % PAUSE == 0:
                    time.sleep(REST)

    def _count(self, name: str, ready: Ready, near: Near) -> None:
        """Of this release's own hits: those of another measurement say nothing about this one."""
        where = {"feature": name, "release": ready.digest, "origin": "user", "status": "cached"}
        hits = [record for record in self._ledger.records(where=where, limit=HITS) if record.outcome.recalled is not None]
        judged = [said for record in hits if (said := was_wrong(record, self._ledger.scores(record.id))) is not None]
        wrong, target = sum(judged), ready.feature.cache.wrong_hits
        low = at_least(wrong, len(judged), SURE)
        if low <= target:
            return
        what = (
            f"{wrong} of {len(judged)} live near hits that were judged were wrong, so with 95 % confidence at least {low:.1%} are"
        )
        self._store.attest(
            Attestation(
                id=verdict_of(name, near.measurement),
                kind=KIND,
                feature=name,
                release=ready.digest,
                passed=False,
                at=time.time(),
                who="mainstay",
                what=f"{what}; wrong_hits is {target:g}",
            )
        )


def proven_wrong(store: Releases, feature: str, near: Near | None) -> Attestation | None:
    """The evidence that turned near hits off by itself; None where there is none against what is measured now."""
    return None if near is None else store.attestation(verdict_of(feature, near.measurement))
