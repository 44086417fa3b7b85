"""Rechecks, kept in a folder: a file of JSON each, the newest ones, and what passages said when they were seen last."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from mainstay.core.errors import StoreError
from mainstay.learn.rechecking import Recheck

KEPT = 100  # reports; older ones are deleted
TEXTS = "texts.json"
_report = msgspec.json.Decoder(Recheck).decode
_texts = msgspec.json.Decoder(dict[str, str]).decode


class Kept:
    """The rechecks of one project."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def texts(self) -> dict[str, str]:
        """What passages said when they were seen last; nothing where that is lost, which costs the differences of one run."""
        try:
            return _texts((self._folder / TEXTS).read_bytes())
        except (OSError, msgspec.DecodeError):
            return {}

    def keep(self, report: Recheck, texts: dict[str, str], *, whole: bool) -> None:
        """Keep a report and what it saw, which takes the place of what was known if it looked at the `whole`.

        Raises `StoreError`.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._write(f"{report.id}.json", msgspec.json.encode(report))
            self._write(TEXTS, msgspec.json.encode(texts if whole else {**self.texts(), **texts}))
            for name in self._names()[:-KEPT]:
                (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"the recheck cannot be kept: {error.strerror}", where=str(self._folder)) from error

    def report(self, id: str) -> Recheck | None:
        """The report with that id, if it is still there."""
        if f"{id}.json" not in self._names():
            return None
        try:
            return _report((self._folder / f"{id}.json").read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise StoreError(f"the recheck cannot be read: {error}", where=str(self._folder / f"{id}.json")) from error

    def _names(self) -> list[str]:
        """The files of reports, the oldest first: their ids sort by time."""
        try:
            return sorted(path.name for path in self._folder.glob("a*.json"))
        except OSError:
            return []

    def _write(self, name: str, data: bytes) -> None:
        """All of it or nothing, whenever the process ends."""
        beside = self._folder / f".{name}.{os.getpid()}"
        beside.write_bytes(data)
        beside.chmod(0o600)
        beside.replace(self._folder / name)
