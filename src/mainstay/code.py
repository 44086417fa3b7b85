"""Python of the team, loaded from a release's own bytes under a module named after its digest.

So what runs is what was frozen: an edit on disk changes nothing until it is a release of its own. `package.module:name` is
imported as usual; of such imports, and of those that a file makes itself, the ones that lie in the project count for the digest.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
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


def reached(modules: Iterable[str], sources: Iterable[bytes], root: Path) -> dict[str, str]:
    """The hashes of the Python files under `root` that these modules and sources import, and those import in turn, by path.

    What is imported by other means than an `import` statement is not seen.
    """
    found: dict[str, str] = {}
    wanted = [*modules, *[name for source in sources for name in _imports(source, "")]]
    while wanted:
        name = wanted.pop()
        for file in _files_of(name, root):
            path = file.relative_to(root).as_posix()
            if path not in found:
                source = file.read_bytes()
                found[path] = digest_of(file)
                package = name if file.name == "__init__.py" else name.rpartition(".")[0]
                wanted += _imports(source, package)
    return dict(sorted(found.items()))


def digest_of(file: Path) -> str:
    """The hash of a file's content; empty where there is no such file."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _imports(source: bytes, package: str) -> Iterator[str]:
    """The modules that a file may import: `from a import b` may mean `a.b`. A file that is no Python imports nothing."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*above, node.module or ""]))
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _files_of(module: str, root: Path) -> Iterator[Path]:
    """The files under `root` that are run when that module is imported: its packages' and its own."""
    steps = [step for step in module.split(".") if step.isidentifier()]
    for depth in range(1, len(steps) + 1):
        place = root.joinpath(*steps[:depth])
        yield from (file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file())
