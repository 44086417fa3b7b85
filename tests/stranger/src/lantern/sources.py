"""A source of one's own."""

import hashlib

from mainstay.core.evidence import Passage, Viewer

SILENT = {"a", "is", "of", "one", "the", "what", "what's"}


class Facts:
    """One fact for each line of a file."""

    def __init__(self, *, name: str, path: str, link: str | None = None, least: int = 1) -> None:
        self._name, self._link, self._least = name, link, least
        with open(path, encoding="utf-8") as file:
            self._lines = file.read().splitlines()
        self.version = hashlib.sha256("\n".join(self._lines).encode()).hexdigest()[:12]

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        asked = _words(query)
        found = [(len(asked & _words(line)), number, line) for number, line in enumerate(self._lines)]
        best = sorted([f for f in found if f[0] >= self._least], key=lambda f: (-f[0], f[1]))
        return [
            Passage(
                id=f"facts#{number}",
                source=self._name,
                document="facts",
                text=line,
                score=shared / len(asked),
                link=self._link and f"{self._link}#{number}",
            )
            for shared, number, line in best[:limit]
        ]


def _words(text: str) -> set[str]:
    return {word.strip("?.,!") for word in text.casefold().split()} - SILENT - {""}
