"""Python of the team, loaded from a release's own bytes under a module named after its digest.

So what runs is what was frozen: an edit on disk changes nothing until it is a release of its own. `package.module:name` is
imported as usual; such imports, and those that a file makes itself, are not part of the digest.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Mapping
from typing import Any

from mainstay.core.errors import ConfigError, nearest
from mainstay.registry import imported


def load(path: str, files: Mapping[str, bytes], *, digest: str, where: str) -> Any:
    """The object at `answers.py:reply` in the release, or at `package.module:reply`. Raises `ConfigError`."""
    file, _, name = path.partition(":")
    try:
        if not file.endswith(".py"):
            return imported(path)
        found: Any = _module(file, files[file], digest)
    except (Exception, SystemExit) as error:
        raise ConfigError(f'"{path}" cannot be loaded: {type(error).__name__}: {error}', where=where) from error
    for attribute in name.split("."):
        if not hasattr(found, attribute):
            known = [n for n in vars(found) if not n.startswith("_")] if hasattr(found, "__dict__") else []
            raise ConfigError(f'"{file}" holds no `{name}`; {nearest(attribute, known)}', where=where)
        found = getattr(found, attribute)
    return found


def _module(file: str, source: bytes, digest: str) -> types.ModuleType:
    name = f"mainstay_release_{digest[:16]}_" + re.sub(r"[^A-Za-z0-9]", lambda m: f"_{ord(m[0]):x}_", file)
    if name in sys.modules:
        return sys.modules[name]
    module = types.ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module  # pydantic and pickling look a class's module up by name
    try:
        exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)  # noqa: S102  the team's own, reviewed code
    except BaseException:
        del sys.modules[name]
        raise
    return module
