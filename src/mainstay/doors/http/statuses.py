"""The one table from an answer's status and reason to HTTP.

| status        | reason          | Mainstay's shape | OpenAI's shape                             |
|---------------|-----------------|------------------|--------------------------------------------|
| `refused`     | `input_invalid` | 422, the answer  | 400, an error with `param`                 |
| `refused`     | any other       | 200, the answer  | 200, `message.refusal`, `content_filter`   |
| `unavailable` | `rate_limited`  | 503, the answer  | 429, an error                              |
| `unavailable` | `over_budget`   | 503, the answer  | 429, an error                              |
| `unavailable` | `retry_loop`    | 503, the answer  | 429, an error                              |
| `unavailable` | `model_refused` | 503, the answer  | 400, an error                              |
| `unavailable` | `over_deadline` | 503, the answer  | 504, an error                              |
| `unavailable` | `busy`          | 503, the answer  | 503, an error                              |
| `unavailable` | any other       | 503, the answer  | 503, an error                              |
| `interrupted` | any             | 200, the answer  | as `unavailable`, unless it was stopped    |
| `interrupted` | stopped         | 200, the answer  | 200, `content_filter`                      |
| any other     |                 | 200, the answer  | 200, a completion                          |

What is expected is a value, so in our own shape it is 200 and `status` says what it is. OpenAI's clients know errors by their
HTTP status alone. Stopped is what a guard, or the model itself, ended on purpose. None of these is worth asking again at once:
the retries and fallbacks were spent already, so all but an answer carry `x-should-retry: false`. `unavailable` ends only a plain
model, which has no ladder. A stream has its 200 before it is known how it ends: in our own shape always, in OpenAI's once the
first word left; then the error is an event of the stream.
"""

from __future__ import annotations

from mainstay.core.answer import Answer
from mainstay.core.reasons import Finish, Reason, Status

_FAILED = {
    Reason.OVER_BUDGET: 429,
    Reason.RATE_LIMITED: 429,
    Reason.RETRY_LOOP: 429,
    Reason.MODEL_REFUSED: 400,
    Reason.OVER_DEADLINE: 504,
}


def of_feature(answer: Answer) -> int:
    """The HTTP status of an answer in Mainstay's own shape."""
    if answer.status is Status.REFUSED and answer.reason is Reason.INPUT_INVALID:
        return 422
    return 503 if answer.status is Status.UNAVAILABLE else 200


def of_completion(answer: Answer) -> int:
    """The HTTP status of an answer in OpenAI's shape: 200 is a completion, everything else an error object."""
    if answer.status is Status.REFUSED:
        return 400 if answer.reason is Reason.INPUT_INVALID else 200
    if answer.status is Status.UNAVAILABLE or (answer.status is Status.INTERRUPTED and not was_stopped(answer)):
        return _FAILED.get(answer.reason or Reason.MODEL_UNAVAILABLE, 503)
    return 200


def was_stopped(answer: Answer) -> bool:
    """Whether an interrupted answer was ended on purpose, by a guard (which leaves no text) or by the model itself."""
    return not answer.text or answer.finish is Finish.CONTENT_FILTER
