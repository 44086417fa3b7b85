"""A model of one's own."""

from collections.abc import AsyncGenerator

from mainstay.core.errors import Overloaded
from mainstay.core.model import Chunk, ModelRequest, Usage
from mainstay.core.project import Model
from mainstay.core.reasons import Finish
from mainstay.parts.http import Http


class Shouting:
    """Shouts back what it was asked, unless it is told to sleep."""

    def __init__(self, model: Model, *, key: str, http: Http) -> None:
        self._name = model.model

    async def generate(self, request: ModelRequest, *, stream: bool) -> AsyncGenerator[Chunk, None]:
        asked = request.messages[-1].text
        if "sleep" in asked:
            raise Overloaded("it is asleep", where=self._name)
        words = [f"{word} " for word in asked.upper().split()] if stream else [asked.upper()]
        for word in words[:-1]:
            yield Chunk(text=word)
        yield Chunk(text=words[-1].rstrip(), finish=Finish.STOP, model=self._name, usage=Usage(input=3, output=len(words)))
