"""Makes features of models that are called by their own names: guards, cache, limits and record apply, a ladder does not."""

from __future__ import annotations

import hashlib

import msgspec

from mainstay.checking import Lent, make_guard
from mainstay.core.feature import Feature, Input, ModelRung
from mainstay.core.project import Model, Plain
from mainstay.freezing import VERSION, identity
from mainstay.serve import rungs
from mainstay.serve.pace import Pace
from mainstay.serve.ready import Ready, ReadyRung, ServingModel
from mainstay.spec.documents import Document


def governed(model: ServingModel, rules: Plain, declared: Model, document: Document, lent: Lent) -> Ready:
    """A feature around one model that is called by its own name: guards, cache, limits and record apply, a ladder does not.

    Raises `ConfigError`.
    """
    spec = ModelRung(model=model.name, prompt="", tries=rules.tries)
    feature = Feature(
        name=model.name,
        summary=f"The model {model.name}, as it is",
        deadline=rules.deadline,
        log=rules.log,
        input=Input(),
        ladder=(spec,),
        guards=rules.guards,
        cache=rules.cache,
        limits=rules.limits,
    )
    digest = hashlib.sha256(msgspec.json.encode([VERSION, identity(declared), rules], enc_hook=str)).hexdigest()
    rung = ReadyRung(
        name=model.name, spec=spec, tries=rules.tries, models=(model,), writer=rungs.PlainWriter(model, model.name), pace=Pace()
    )
    return Ready(
        digest=digest,
        feature=feature,
        rungs=(rung,),
        input_guards=tuple(
            [make_guard(g, document, ("plain", "guards", "input", i), lent) for i, g in enumerate(rules.guards.input)]
        ),
        output_guards=tuple(
            [make_guard(g, document, ("plain", "guards", "output", i), lent) for i, g in enumerate(rules.guards.output)]
        ),
        sources={},
        read_input=dict,
        keeps=rules.cache.keep or 0.0,
        laddered=False,
    )
