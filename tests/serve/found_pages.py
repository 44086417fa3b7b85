"""A source whose passages a test writes into its settings, each with whoever answers for it."""

from __future__ import annotations

from mainstay.core.evidence import Curated, Passage, Viewer


class Pages:
    """Every passage is found by every question; `approver` and `review` hold for all of them where they are given."""

    def __init__(self, *, name: str, pages: list[str], approver: str = "", review: str = "2999-01-01") -> None:
        curated = Curated(approver=approver, review=review) if approver else None
        self.version = "1"
        self._found = [
            Passage(
                id=f"p{i}", source=name, document="guide.md", text=text, link=f"/guide#{i}", score=0.9 - i / 10, curated=curated
            )
            for i, text in enumerate(pages)
        ]

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        return self._found[:limit]


def settings(*replies: str, pages: tuple[str, ...] = ("The order arrives on Monday.",), **curated: str) -> str:
    """A project with one scripted model and one such source."""
    options = "".join(f"\n    {name} = {value!r}" for name, value in curated.items())
    return f"""
    [models.small]
    provider = "scripted"
    [models.small.options]
    replies = {list(replies)!r}

    [sources.guide]
    kind = "found_pages:Pages"
    [sources.guide.options]
    pages = {list(pages)!r}{options}
    """
