"""Mainstay: the product layer around a generative model.

    import mainstay

    app = mainstay.open(".")
    answer = await app.run("handbook", question="What is a rung?")

A feature is a folder; an application calls a feature, never a model; every call ends within its deadline in one `Answer` and
leaves one record.

Each name is imported when it is first used. The command line needs that: what it imports before it can see to Ctrl-C has to be
next to nothing.
"""

from importlib import import_module

TYPE_CHECKING = False  # as type checkers know it; `typing` itself takes longer to import than all else here
if TYPE_CHECKING:
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

_HOMES = {
    "mainstay.app": ("Mainstay", "open"),
    "mainstay.core.answer": ("Answer", "Citation", "Event"),
    "mainstay.core.call": ("Turn",),
    "mainstay.core.errors": ("ConfigError", "MainstayError", "NotFound"),
    "mainstay.core.reasons": ("Reason", "Status"),
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """A public name, the first time that it is asked for."""
        for home, names in _HOMES.items():
            if name in names:
                globals()[name] = found = getattr(import_module(home), name)
                return found
        raise AttributeError(f"module 'mainstay' has no attribute {name!r}")
