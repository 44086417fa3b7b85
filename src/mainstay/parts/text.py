"""What bytes say as text, and what the front matter of a Markdown file says of it.

UTF-8 with or without a byte order mark, and UTF-16 and UTF-32 with one, are read; other encodings where they are declared.
Nothing is guessed: what is none of these is an error that names the byte.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

import yaml

from mainstay.core.errors import SourceError

_MARKS = (  # the longer first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_YAML = re.compile(r"""\s*$|\s*#|\s+\S|-(\s|$)|[\w"'][^:]*:(\s|$)""")
_OURS = re.compile(r"""^["']?(tenants?|roles?|approver|review)["']?\s*:""", re.IGNORECASE | re.MULTILINE)


def decoded(data: bytes, charset: str = "") -> str:
    """The text, its lines ended by `\\n`; `charset` is what it is declared to be. Raises `SourceError`."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), charset or "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding.startswith("utf-8") else encoding
        raise SourceError(f"it is not {name}: {error.reason} at byte {error.start}", next="save it as UTF-8") from None
    except (LookupError, UnicodeError):  # an encoding that there is not, or one that makes no text
        raise SourceError(f"its encoding {charset[:40]!r} is not known", next="save it as UTF-8") from None
    if "\0" in text:
        what = f"it is no text: there is a zero at character {text.index(chr(0))}; UTF-16 needs its byte order mark"
        raise SourceError(what, next="save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def front_matter(text: str) -> int:
    """Where the text begins behind its front matter; a line of dashes alone does not make one."""
    if not text.startswith("---"):
        return 0
    at = 0
    for number, found in enumerate(_LINE.finditer(text)):
        line, at = found[0].rstrip(), found.end()
        if number and line in ("---", "..."):
            return at
        if (number == 0 and line != "---") or (number and not _YAML.match(line)):
            return 0
    return 0


def declared(text: str) -> dict[str, Any]:
    """What the front matter says about who may see the document and who answers for it; nothing where it says nothing of it.

    Raises `SourceError` where it says something and is not YAML: whoever writes `tenants` means to hide it from others.
    """
    head = text[: front_matter(text)]
    if not _OURS.search(head):
        return {}
    try:
        found = yaml.safe_load(head.strip().strip("-.").strip("\n") + "\n")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" in line {line + 2}"
        raise SourceError(f"its front matter is not YAML{where}", next="correct the lines between ---") from None
    items = found.items() if isinstance(found, dict) else ()
    return {name: value for key, value in items if _OURS.match(f"{(name := str(key).lower())}:")}
