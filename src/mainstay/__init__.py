"""Mainstay: the product layer around a generative model.

    import mainstay

    app = mainstay.open(".")
    answer = await app.run("handbook", question="What is a rung?")

A feature is a folder; an application calls a feature, never a model; every call ends within its deadline in one `Answer` and
leaves one record.
"""

from mainstay.app import Mainstay, open
from mainstay.core.answer import Answer, Citation, Event
from mainstay.core.call import Turn
from mainstay.core.errors import ConfigError, MainstayError, NotFound
from mainstay.core.reasons import Reason, Status

__all__ = [
    "Answer",
    "Citation",
    "ConfigError",
    "Event",
    "Mainstay",
    "MainstayError",
    "NotFound",
    "Reason",
    "Status",
    "Turn",
    "open",
]
