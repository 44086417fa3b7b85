"""A text classifier on this machine: an ONNX model with its tokenizer, run on one core without any network.

`path` is a folder with `model.onnx`, `tokenizer.json`, and `config.json`, whose `id2label` names the labels in their order, as
`optimum-cli export onnx` writes it. Options (`[classifiers.NAME.options]`): `max_tokens`, how much of a text is read (512);
`each`, whether every label has a probability of its own (by default where `config.json` says `multi_label_classification`).
Needs the extra `onnx`. Limits: a text that takes longer than `timeout` counts as not answered, though its thread runs on to the
end; what lies behind `max_tokens` is not read.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from mainstay.core.errors import ConfigError, Garbled, TooSlow
from mainstay.core.project import Service
from mainstay.parts.http import Http

FILES = ("model.onnx", "tokenizer.json", "config.json")
EXTRA = 'pip install "mainstay[onnx]"'


class Options(Struct, forbid_unknown_fields=True):
    """What `[classifiers.NAME.options]` may say."""

    max_tokens: Annotated[int, Meta(ge=1)] = 512
    each: bool | None = None


class Config(Struct):
    """What is read of `config.json`."""

    id2label: dict[str, str]
    problem_type: str | None = None


class OnnxClassifier:
    """One model of one folder, loaded when the project is."""

    def __init__(self, service: Service, *, key: str, http: Http) -> None:
        try:
            import onnxruntime
            import tokenizers
        except ImportError as error:
            raise ConfigError(f"an ONNX classifier needs the package {error.name}", next=EXTRA) from None
        if service.path is None:
            raise ConfigError("it needs the `path` of a folder", next='path = "classifiers/injection"')
        folder = Path(service.path)
        options = msgspec.convert(service.options, Options)
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise ConfigError(f"{folder} has no {', '.join(missing)}", next="optimum-cli export onnx --task text-classification")
        try:
            config = msgspec.json.decode((folder / "config.json").read_bytes(), type=Config)
            self._labels = [config.id2label[str(i)] for i in range(len(config.id2label))]
        except (msgspec.DecodeError, KeyError) as error:
            raise ConfigError(f"config.json does not name its labels: {error}", where=str(folder)) from None
        self._each = config.problem_type == "multi_label_classification" if options.each is None else options.each
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session = _session(onnxruntime, folder / "model.onnx")
        except Exception as error:  # both libraries raise types of their own, straight from Rust and C++
            raise ConfigError(f"the model or its tokenizer cannot be read: {str(error)[:200]}", where=str(folder)) from None
        self._tokenizer.enable_truncation(options.max_tokens)
        self._tokenizer.enable_padding()
        self._wanted = {given.name for given in self._session.get_inputs()}
        self._where, self._timeout = str(folder), service.timeout

    async def classify(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        """For each text the probability of each label. Raises a `ModelError`."""
        if not texts:
            return []
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.to_thread(self._run, [text.encode("utf-8", "replace").decode() for text in texts])
        except TimeoutError:
            raise TooSlow(f"no answer within {self._timeout}", where=self._where, next="give it more with `timeout`") from None

    def _run(self, texts: list[str]) -> list[Mapping[str, float]]:
        import numpy as np

        encoded = self._tokenizer.encode_batch(texts)
        given = {
            "input_ids": [e.ids for e in encoded],
            "attention_mask": [e.attention_mask for e in encoded],
            "token_type_ids": [e.type_ids for e in encoded],
        }
        feeds = {name: np.array(rows, dtype=np.int64) for name, rows in given.items() if name in self._wanted}
        try:
            logits = self._session.run(None, feeds)[0].tolist()
        except Exception as error:  # the runtime raises types of its own
            raise Garbled(f"the model cannot be run: {str(error)[:200]}", where=self._where) from None
        if not all(isinstance(row, list) and len(row) == len(self._labels) for row in logits):
            raise Garbled(f"the model does not give {len(self._labels)} numbers a text, one a label", where=self._where)
        return [dict(zip(self._labels, self._probabilities(row), strict=True)) for row in logits]

    def _probabilities(self, logits: list[float]) -> list[float]:
        if self._each:
            return [1 / (1 + math.exp(-max(-60.0, min(60.0, x)))) for x in logits]
        top = max(logits)
        powers = [math.exp(x - top) for x in logits]
        return [power / sum(powers) for power in powers]


def _session(onnxruntime: Any, path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
