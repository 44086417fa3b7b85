"""Development only: loads the project's folder again when it changes. Running calls keep the release that they began with."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from mainstay.app import Mainstay
from mainstay.core.errors import MainstayError
from mainstay.spec.settings_file import FILE as SETTINGS

log = logging.getLogger("mainstay.reload")
SETTLE = 0.2  # seconds without a change before the folder is loaded again
LOOK = 0.3  # seconds between looks at the folder

Fingerprint = frozenset[tuple[str, int, int]]


async def watch_folder(app: Mainstay) -> None:
    """Load the folder again whenever it changes. A broken edit is said loudly, and the last good version goes on serving."""
    seen = await asyncio.to_thread(_fingerprint, app)
    while True:
        await asyncio.sleep(LOOK)
        now = await asyncio.to_thread(_fingerprint, app)
        if now == seen:
            continue
        settled = None
        while settled != now:
            await asyncio.sleep(SETTLE)
            settled, now = now, await asyncio.to_thread(_fingerprint, app)
        seen = now
        await asyncio.to_thread(_reload, app)


def _reload(app: Mainstay) -> None:
    try:
        app.reload()
    except MainstayError as error:
        log.error("NOT RELOADED, the last good version goes on serving:\n  %s", error)
    except Exception:
        log.exception("NOT RELOADED, the last good version goes on serving")
    else:
        log.warning("reloaded: %s", ", ".join(f"{n} {r.digest[:12]}" for n, r in app.features.ready.items()))


def _fingerprint(app: Mainstay) -> Fingerprint:
    """Name, size and time of every file that a reload would read, also in linked folders. What vanishes while it looks is not
    there; the project's own state, and what is hidden, may lie in the same place and is no edit.
    """
    settings = app.settings
    places = {app.root / settings.features, *(app.root / source.path for source in settings.sources.values() if source.path)}
    found = [_stat(app.root / SETTINGS), *(_stat(place) for place in places if place.is_file())]
    seen = {_identity(app.state)}
    for place in places:
        for folder, inner, files in os.walk(place, followlinks=True):
            identity = _identity(Path(folder))
            if identity in seen:  # links may lead in a circle
                inner.clear()
                continue
            seen.add(identity)
            inner[:] = [name for name in inner if name != "__pycache__" and not name.startswith(".")]
            found += [_stat(Path(folder, name)) for name in files]
    return frozenset(stat for stat in found if stat is not None)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        stat = folder.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _stat(path: Path) -> tuple[str, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return str(path), stat.st_size, stat.st_mtime_ns
