"""Which label each case gives its text, and which cases a classifier may be fitted on.

What a classifier was fitted on proves nothing about it. So cases to fit on stand in `cases/train*.jsonl`, which no evaluation
reads. Where a feature has no such file, half of its cases are taken, told apart by their texts' hashes, so that a new case moves
no other from one half to the other; an evaluation leaves that half out, by `fitted_on`. A case marked `must` is never fitted on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from mainstay.core.case import Case
from mainstay.core.errors import BadRequest, ConfigError
from mainstay.learn.fitting import LEAST, Example
from mainstay.serve.classifying import Shape, mark_of
from mainstay.serve.inputs import text_of
from mainstay.serve.ready import Ready
from mainstay.serve.rungs import ClassifierWriter

ANSWER = "answer"  # what the one target of a feature is called whose answer is text
FEW = 20  # different texts of a field without an `enum` that may still be labels


class Chosen(Struct, frozen=True, kw_only=True):
    """The examples to fit on. `apart` are how many cases are left for evaluations, `how` says in a sentence what was done."""

    examples: list[Example]
    apart: int
    how: str


def choose(evaluated: Sequence[Case], training: Sequence[Case], shape: Shape) -> Chosen:
    """Examples from the cases that may be fitted on. Raises `ConfigError` for a case whose input the feature does not take."""
    texts = [_text(case, shape) for case in evaluated]
    if training:
        taken = {mark_of(text) for text in texts}
        own = [(case, text) for case in training if mark_of(text := _text(case, shape)) not in taken]
        also = len(training) - len(own)
        how = f"the {len(own)} cases of train*.jsonl" + (f"; {also} more are among the evaluated ones too" if also else "")
        return Chosen(examples=_examples(own, shape), apart=len(evaluated), how=how)
    both = list(zip(evaluated, texts, strict=True))
    own = [(case, text) for case, text in both if not case.must and int(mark_of(text), 16) % 2 == 0]
    how = f"half of the cases, {len(own)} of {len(both)}, which evaluations now leave out; put cases in train.jsonl to keep all"
    return Chosen(examples=_examples(own, shape), apart=len(both) - len(own), how=how)


def fitted_on(ready: Ready, case: Case) -> bool:
    """Whether a classifier of this release was fitted on this case's text. Such a case is no evidence for or against it.

    Never for a case marked `must`: those are evaluated, whatever was fitted.
    """
    if case.must:
        return False
    writers = [rung.writer for rung in ready.rungs if isinstance(rung.writer, ClassifierWriter)]
    return any(writer.seen(ready.read_input(case.input)) for writer in writers)


def _text(case: Case, shape: Shape) -> str:
    try:
        return text_of(shape.read_input(case.input), shape.texts)
    except BadRequest as error:
        raise ConfigError(f"the feature does not take this input: {error.what}", where=f"case {case.id}") from None


def _examples(cases: Iterable[tuple[Case, str]], shape: Shape) -> list[Example]:
    found = [(text, _said(case, structured=shape.schema is not None)) for case, text in cases]
    targets = _targets([said for _, said in found], shape.schema)
    told = [(text, {name: said[name] for name in targets if isinstance(said.get(name), str | bool)}) for text, said in found]
    return [Example(text=text, labels=labels) for text, labels in told if labels]


def _said(case: Case, *, structured: bool) -> Mapping[str, Any]:
    """What the case says of the answer: its fields, or the whole text."""
    exact = case.expect.get("exact")
    if not structured:
        return {ANSWER: exact} if isinstance(exact, str) else {}
    data = case.expect.get("data", exact)
    return data if isinstance(data, Mapping) else {}


def _targets(said: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None) -> list[str]:
    """The fields whose values are chosen among few: by the schema, or because the same ones come again and again."""
    if schema is None:
        return [ANSWER]
    found = []
    for name in sorted({name for fields in said for name in fields}):
        count = Counter(fields[name] for fields in said if isinstance(fields.get(name), str | bool))
        few = count and len(count) <= FEW and min(count.values()) >= LEAST
        if count and (few or _chosen_among(schema.get("properties", {}).get(name), schema)):
            found.append(name)
    return found


def _chosen_among(kind: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a property's schema lists its values. References are followed within `$defs`, as deep as pydantic writes them."""
    if not isinstance(kind, Mapping):
        return False
    reference = kind.get("$ref")
    if isinstance(reference, str):
        inner = schema.get("$defs", {}).get(reference.rpartition("/")[2])
        return isinstance(inner, Mapping) and ("enum" in inner or "const" in inner)
    return "enum" in kind or "const" in kind or kind.get("type") == "boolean"
