"""Who does something to a project, and from which commit of its repository."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


def who(environ: Mapping[str, str] | None = None) -> str:
    """`MAINSTAY_WHO`, else the user of this machine. It is what they say of themselves: nothing checks it."""
    named = (os.environ if environ is None else environ).get("MAINSTAY_WHO", "").strip()
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without such a user
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def commit(folder: Path) -> str:
    """The commit that a folder's repository is at, with `+` where files of the folder were changed since; empty without git."""
    head = _git(folder, "rev-parse", "--short=12", "HEAD")
    if not head:
        return ""
    return f"{head}+" if _git(folder, "status", "--porcelain", "--", ".") else head


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
