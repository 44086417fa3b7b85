"""A part whose own dependency is not installed."""

import lantern_extra_that_is_not_installed


class NeedsMore:
    """Never made."""

    observe = lantern_extra_that_is_not_installed.observe
