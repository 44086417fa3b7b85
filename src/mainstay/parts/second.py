"""A second opinion: a trained classifier of mainstay.toml, asked where a guard's fast model is unsure."""

from __future__ import annotations

from mainstay.core.errors import ModelError
from mainstay.core.seams import TextClassifier

SURE = 0.5  # the classifier's probability from which on it says yes, unless the team says otherwise


class SecondOpinion:
    """Asks a classifier, where there is one, for the probability of `label`. It says yes from `at_least` on."""

    def __init__(self, classifier: TextClassifier | None, label: str, at_least: float | None = None) -> None:
        self._classifier, self._label = classifier, label
        self._at_least = SURE if at_least is None else at_least

    async def of(self, text: str, *, unsure: bool) -> tuple[bool | None, str]:
        """Whether it says yes; None where nobody is asked or nothing can be said, and then a note for the record says why."""
        if self._classifier is None or not unsure:
            return None, ""
        try:
            found = (await self._classifier.classify([text]))[0]
        except ModelError as error:
            return None, f"the classifier could not say: {error.what}"
        if self._label not in found:
            return None, f'the classifier has no label "{self._label}"; it has {", ".join(sorted(found))}'
        return found[self._label] >= self._at_least, ""
