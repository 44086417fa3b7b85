"""A project that is not opened: its ledger, releases, sources and limits, without loading any of its features.

It works where features are broken, keys are missing, or a server runs beside it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from mainstay import ladders, provenance
from mainstay.core.errors import ConfigError
from mainstay.core.feature import Limits
from mainstay.core.project import TenantSpec
from mainstay.core.release import Release, fold
from mainstay.learn.keeping import Kept
from mainstay.learn.switching import Switchboard
from mainstay.loading import Loader, unpriced, unpriced_services
from mainstay.parts.http import Http
from mainstay.parts.stores.sqlite_counters import SqliteCounters
from mainstay.parts.stores.sqlite_ledger import SqliteLedger
from mainstay.parts.stores.sqlite_releases import SqliteReleases
from mainstay.serve.limiting import Standing, standings
from mainstay.serve.surge import Seen, seen
from mainstay.sourcing import Sources
from mainstay.spec.feature_file import folders_of, frozen_folder, read_folder
from mainstay.spec.settings_file import absent_keys, read_settings
from mainstay.state_folder import COUNTERS, INDEXES, LEDGER, RECHECKS, RELEASES


def history(path: Path, state: Path | None = None) -> SqliteLedger:
    """The ledger of the project in that folder, without loading its features. Close it after use."""
    return SqliteLedger((state or path / read_settings(path, os.environ).state) / LEDGER)


def rechecks_of(path: Path, state: Path | None = None) -> Kept:
    """The rechecks of the project in that folder, without loading its features."""
    keyless = {**absent_keys(path), **os.environ}
    return Kept((state or path / read_settings(path, keyless).state) / RECHECKS)


def limits_of(path: Path, state: Path | None = None) -> tuple[list[Standing], Seen | None]:
    """How the limits of the project in that folder stand, and the breaker on spending.

    The caps of a feature are those of its live release, and of its folder where none is live.
    """
    settings = read_settings(path, {**absent_keys(path), **os.environ})
    folder, now = state or path / settings.state, time.time()
    features = _limits_served(path, state) | dict.fromkeys(settings.models, settings.plain.limits)
    keys = _limits_of_keys(path, state)
    counted: list[tuple[str, int]] = []
    if (folder / COUNTERS).is_file():
        counters = SqliteCounters(folder / COUNTERS)
        try:
            counted = counters.all()
        finally:
            counters.close()
    return standings(counted, settings, features, keys, now=now), seen(counted, settings.limits, now=now)


def _limits_served(path: Path, state: Path | None) -> dict[str, Limits]:
    """The limits that each feature states where it is served. What cannot be read is left out: `mainstay doctor` tells why."""
    released, folders = _released(path, state, trials=False), folders_in(path)
    found: dict[str, Limits] = {}
    for name in {*released, *folders}:
        with contextlib.suppress(ConfigError):
            if live := released.get(name):
                found[name] = frozen_folder(name, live[0].files, shown=name).feature.limits
            elif name in folders:
                found[name] = read_folder(folders[name], shown=name).feature.limits
    return found


def without_price(path: Path, state: Path | None = None) -> dict[str, dict[str, str]]:
    """What features and models ask that has no known price, by their names, each with what to type.

    A feature asks the models of its folder, and of the releases that are live or on trial; and the services of the project may
    be asked by any.
    """
    settings = read_settings(path, {**absent_keys(path), **os.environ})
    found = {name: unpriced({name: model}, settings) for name, model in settings.models.items()}
    released = _released(path, state, trials=True)
    folders = folders_in(path)
    for name in {*folders, *released}:
        models = {}
        with contextlib.suppress(ConfigError):  # `mainstay doctor` tells what is wrong with it
            named = ladders.named_models(read_folder(folders[name], shown=name).feature) if name in folders else set()
            models = {one: settings.models[one] for one in named if one in settings.models}
        for release in released.get(name, ()):
            models |= release.models
        found[name] = {**unpriced(models, settings), **unpriced_services(settings)}
    return found


def _released(path: Path, state: Path | None, *, trials: bool) -> dict[str, list[Release]]:
    """The release of each feature that is live, and those that are on trial."""
    store = releases_of(path, state)
    try:
        found: dict[str, list[Release]] = {}
        for name, standing in fold(store.links()).standings.items():
            entries = [standing.live, *([standing.canary, standing.shadow] if trials else [])]
            releases = [store.release(name, entry.digest) for entry in entries if entry is not None]
            found[name] = [release for release in releases if release is not None]
        return found
    finally:
        store.close()


def _limits_of_keys(path: Path, state: Path | None) -> dict[str, TenantSpec]:
    store = releases_of(path, state)
    try:
        return {key.id: caps for key in fold(store.links()).keys.values() if (caps := key.caps) is not None}
    finally:
        store.close()


def releases_of(path: Path, state: Path | None = None) -> SqliteReleases:
    """The releases of the project in that folder, without loading its features. Close it after use."""
    keyless = {**absent_keys(path), **os.environ}  # what is served can be seen, and changed, where no key is
    return SqliteReleases((state or path / read_settings(path, keyless).state) / RELEASES)


@contextlib.contextmanager
def sources_of(path: Path, state: Path | None = None) -> Iterator[Sources]:
    """The sources of the project in that folder, without loading its features: none is read yet, and no model's key is needed."""
    environ = {**absent_keys(path), **os.environ}
    settings = read_settings(path, environ)
    loader = Loader(path.absolute(), environ, Http(), ((state or path / settings.state) / INDEXES).absolute())
    try:
        yield loader.knowledge(settings)
    finally:
        loader.close()


def named_in(path: Path) -> set[str]:
    """The names of the features and models of the project in that folder, as far as they can be read."""
    return {*models_in(path), *folders_in(path)}


def models_in(path: Path) -> set[str]:
    """The names of the models of the project in that folder."""
    return {*read_settings(path, {**absent_keys(path), **os.environ}).models}


def folders_in(path: Path) -> dict[str, Path]:
    """The folders of the features of the project in that folder, by name. None of them is read, and no key is needed."""
    return folders_of(path / read_settings(path, {**absent_keys(path), **os.environ}).features)


@contextlib.contextmanager
def switchboard(path: Path, state: Path | None = None) -> Iterator[Switchboard]:
    """What waits for no gate, without loading any feature: it works beside a project that cannot be loaded."""
    store = releases_of(path, state)
    try:
        yield Switchboard(store, who=provenance.who())
    finally:
        store.close()
