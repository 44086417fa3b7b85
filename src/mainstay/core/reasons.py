"""The two closed vocabularies of an answer: what happened to the call, and why.

Every member carries the sentence that the generated reference prints. Nothing here decides anything.
"""

from __future__ import annotations

from enum import StrEnum


class _Documented(StrEnum):
    """A string enum whose members carry a sentence of help."""

    help: str

    def __new__(cls, value: str, help: str) -> _Documented:
        member = str.__new__(cls, value)
        member._value_ = value
        member.help = help
        return member


class Status(_Documented):
    """What became of a call. Exactly one of these ends every call."""

    ANSWERED = "answered", "The rung where the ladder started gave an answer that passed every guard."
    CACHED = "cached", "The same call was answered before by this release, and the answer passed the guards again."
    DEGRADED = "degraded", "An answer from a rung below the one where the ladder started, or with rungs taken away."
    REFUSED = "refused", "The feature will not answer this; `reason` says why."
    INTERRUPTED = "interrupted", "Part of an answer was shown, then it had to stop."
    PENDING = "pending", "Accepted, to be answered later."
    HELD = "held", "Written, and waiting for a person's approval."
    UNAVAILABLE = "unavailable", "No rung could answer; only a plain model, which has no ladder, ends like this."


class Reason(_Documented):
    """Why an answer is not the plain one. `None` stands where nothing has to be explained."""

    OVER_BUDGET = "over_budget", "A money limit would have been passed."
    RATE_LIMITED = (
        "rate_limited",
        "The model's provider refused for rate (429), or a limit on calls or tokens would have been passed.",
    )
    OVER_DEADLINE = "over_deadline", "There was no time left for the rungs that would have answered."
    SWITCHED_OFF = "switched_off", "The feature, or its model rungs, were switched off."
    MODEL_UNAVAILABLE = "model_unavailable", "The model could not be reached, failed, or its breaker is open."
    BUSY = "busy", "More was asked at once than can be answered in time; the queue was too long to wait in."
    MODEL_REFUSED = "model_refused", "The provider or the model itself declined the request."
    SCHEMA_INVALID = "schema_invalid", "What the model wrote does not fit the answer's schema."
    CUT_SHORT = "cut_short", "The model's text ended before it was complete."
    UNGROUNDED = "ungrounded", "The answer is not supported by the evidence."
    SLOT_MISMATCH = "slot_mismatch", "A fact in the answer differs from the system of record."
    NO_EVIDENCE = "no_evidence", "The sources hold nothing that answers this."
    UNSAFE_INPUT = "unsafe_input", "The input was stopped by a guard."
    UNSAFE_OUTPUT = "unsafe_output", "What was written was stopped by a guard."
    HIGH_RISK_UNVALIDATED = "high_risk_unvalidated", "High stakes, and no curated source matches."
    LOW_CONFIDENCE = "low_confidence", "Below the feature's confidence floor."
    NEEDS_REVIEW = "needs_review", "A person has to approve it first."
    INPUT_INVALID = "input_invalid", "The input does not fit what the feature declares."
    RETRY_LOOP = "retry_loop", "The same failing request was sent again and again."
    READER_LEFT = "reader_left", "The reader went away, or stopped reading, before the answer was complete."
    PROCESS_DIED = "process_died", "The process that served the call ended before the answer was complete."
    NOT_RECORDED = "not_recorded", "The record could not be written, so no money was spent on a model."
    NOTHING_FITS = "nothing_fits", "No rung had anything to say to this, and none failed."
    RUNG_FAILED = "rung_failed", "A function or source of the ladder failed; the record says how."


class Finish(StrEnum):
    """Why a model stopped writing, over all providers."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    ERROR = "error"
