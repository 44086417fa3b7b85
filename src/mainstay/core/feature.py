"""What a team promises of a feature: the values that `feature.toml` is read into.

Every field carries the sentence of help that feeds the JSON Schema, the reference and the error messages. Reading the
file, with exact errors, is `mainstay/spec/`; nothing here touches a disk.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct, field

from mainstay.core.draft import Author
from mainstay.core.evidence import SlotType
from mainstay.core.limits import Caps
from mainstay.core.record import LogPolicy
from mainstay.core.units import Seconds, Usd

InputType = Literal[
    "text", "text?", "number", "number?", "integer", "integer?", "boolean", "boolean?", "texts", "texts?", "image", "image?"
]
Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
FROM_PYTHON = r"^[\w./-]+:[A-Za-z_][\w.]*$"
RESERVED = frozenset({"passages", "slots", "history", "steps", "extracted"})  # what templates are given beside the input
GIVEN = Meta(
    extra_json_schema={"given": True}
)  # marks a field that is never written in the file: a name that the folder or table gives

POSITIVE_TIMES = frozenset(
    {"deadline", "timeout", "first_word", "stale", "keep", "fresh", "p95", "stalled_reader", "slow", "keep_warm", "cold_after"}
)

# What this version reads and cannot keep: a path, and the value that is too much, or None for any. `[gate]` binds releases, not
# calls, so it may stand.
NOT_YET: tuple[tuple[tuple[str, ...], str | None], ...] = ((("delivery",), "reviewed"),)


class Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: unknown keys are errors."""


class Rung(Spec, frozen=True, kw_only=True):
    """What every rung of the ladder may say."""

    kind: ClassVar[str] = ""
    needs_model: ClassVar[bool] = False
    needs_evidence: ClassVar[bool] = False
    author: ClassVar[Author] = "model"

    name: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="How records and answers call this rung; by default its kind or its model."),
    ] = None
    needs: Annotated[
        Seconds | None,
        Meta(description="The time that has to be left for this rung; by default its measured p95."),
    ] = None


class RulesRung(Rung, frozen=True, kw_only=True):
    """Patterns and look-ups that answer from a template; no model."""

    kind: ClassVar[str] = "rules"
    author: ClassVar[Author] = "team"
    rules: Annotated[str, Meta(description="The file of rules, beside feature.toml.")]


class ClassifierRung(Rung, frozen=True, kw_only=True):
    """A small classifier, fitted from the cases, that answers where it is sure; no model."""

    kind: ClassVar[str] = "classifier"
    author: ClassVar[Author] = "team"
    classifier: Annotated[str, Meta(description="The file that `mainstay learn classify` writes, beside feature.toml.")]
    sure: Annotated[
        Share, Meta(description="The least probability of being right with which it answers; below it the next rung is tried.")
    ] = 0.8
    answer: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="A template with `labels` and the input; by default the labels as data, or the one label as text."),
    ] = None
    field: Annotated[str | None, Meta(description="The input field to look at; by default all texts together.")] = None


MaxOutput = Annotated[
    Positive | None, Meta(description="The most tokens the model may write; by default the model's own setting.")
]
Temperature = Annotated[
    Annotated[float, Meta(ge=0, le=2)] | None, Meta(description="Sampling temperature; by default the provider's.")
]


class Hedge(float):
    """When a first word is late: after so many seconds, or, as 0, later than 95 % of them.

    >>> Hedge.parse("p95").after is None
    True
    """

    @classmethod
    def parse(cls, text: object) -> Hedge:
        """Read `"p95"` or `"800ms"`; raises `ValueError` with what was expected."""
        if text == "p95":
            return cls(0)
        try:
            seconds = Seconds.parse(text)
        except ValueError:
            raise ValueError(f'expected "p95", or a duration with its unit, such as "800ms", got {text!r}') from None
        if not seconds:
            raise ValueError("a second attempt at once is not one that waits for a late first word")
        return cls(seconds)

    @property
    def after(self) -> float | None:
        """Seconds; None for the measured 95th percentile."""
        return float(self) or None

    def __str__(self) -> str:
        return str(Seconds(self)) if self else "p95"


class ModelRung(Rung, frozen=True, kw_only=True):
    """One prompt to one model."""

    kind: ClassVar[str] = "model"
    needs_model: ClassVar[bool] = True
    needs_evidence: ClassVar[bool] = True
    model: Annotated[str, Meta(description="The name of a model in mainstay.toml.")]
    prompt: Annotated[str, Meta(description="The prompt's Markdown file, beside feature.toml.")]
    tries: Annotated[
        Positive, Meta(description="How often the model may be asked: after an error, or with a guard's remark.")
    ] = 2
    timeout: Annotated[Seconds | None, Meta(description="The most time one attempt may take.")] = None
    first_word: Annotated[
        Seconds | None, Meta(description="The most time until an attempt's first word; the model is streamed to measure it.")
    ] = None
    hedge: Annotated[
        Hedge | None,
        Meta(description='Ask a second time where the first word is later than this, or than 95 % of them (`"p95"`).'),
    ] = None
    hedge_with: Annotated[str | None, Meta(description="The model that is asked the second time; by default the same.")] = None
    max_output: MaxOutput = None
    temperature: Temperature = None


class PromptStep(Spec, frozen=True, kw_only=True):
    """One prompt of a `steps` rung; later prompts read what it wrote as `steps.<name>`."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z][a-z0-9_]*$",
            description="The name under which later steps read this one's text: lower-case letters, digits and `_`.",
        ),
    ]
    model: Annotated[str, Meta(description="The name of a model in mainstay.toml.")]
    prompt: Annotated[str, Meta(description="The prompt's Markdown file, beside feature.toml.")]
    max_output: MaxOutput = None
    temperature: Temperature = None


class StepsRung(Rung, frozen=True, kw_only=True):
    """Several prompts in sequence; the last one writes the answer."""

    kind: ClassVar[str] = "steps"
    needs_model: ClassVar[bool] = True
    needs_evidence: ClassVar[bool] = True
    steps: Annotated[tuple[PromptStep, ...], Meta(min_length=1, description="The prompts, in order.")]
    tries: Annotated[
        Positive, Meta(description="How often each step may be asked: after an error, or the last one with a guard's remark.")
    ] = 2
    timeout: Annotated[Seconds | None, Meta(description="The most time one attempt at one step may take.")] = None
    first_word: Annotated[Seconds | None, Meta(description="The most time until the last step's first word.")] = None


class CallRung(Rung, frozen=True, kw_only=True):
    """A Python function of the team."""

    kind: ClassVar[str] = "call"
    author: ClassVar[Author] = "team"
    call: Annotated[
        str,
        Meta(
            pattern=FROM_PYTHON,
            description='The function: `"answers.py:reply"` beside feature.toml, or `"package.module:function"`.',
        ),
    ]


class SearchRung(Rung, frozen=True, kw_only=True):
    """Quotes the sentences that fit best, with their source."""

    kind: ClassVar[str] = "search"
    author: ClassVar[Author] = "source"
    needs_evidence: ClassVar[bool] = True
    search: Annotated[str, Meta(description="The name of a source in mainstay.toml.")]
    quotes: Annotated[Positive, Meta(description="How many passages are quoted at most.")] = 3


class StaleRung(Rung, frozen=True, kw_only=True):
    """An older cached answer to the same question."""

    kind: ClassVar[str] = "stale"
    stale: Annotated[Seconds, Meta(description="How old the answer may be.")]


class MessageRung(Rung, frozen=True, kw_only=True):
    """A fixed text, or fixed data: it needs nothing and cannot fail."""

    kind: ClassVar[str] = "message"
    author: ClassVar[Author] = "message"
    message: Annotated[str | dict[str, Any], Meta(description="The text to show, or the data where the answer has a schema.")]


AnyRung = RulesRung | ClassifierRung | ModelRung | StepsRung | CallRung | SearchRung | StaleRung | MessageRung
RUNGS: tuple[type[Rung], ...] = (
    *(RulesRung, ClassifierRung, ModelRung, StepsRung),
    *(CallRung, SearchRung, StaleRung, MessageRung),
)


class Input(Spec, frozen=True, kw_only=True):
    """What a call has to bring: named fields with types, or a JSON Schema."""

    fields: dict[str, InputType] = {}
    schema: str | None = None


class AnswerShape(Spec, frozen=True, kw_only=True):
    """The shape of a structured answer; without one the answer is text."""

    schema: Annotated[str | None, Meta(description="A JSON Schema file, beside feature.toml.")] = None
    python: Annotated[
        Annotated[str, Meta(pattern=FROM_PYTHON)] | None,
        Meta(description='A pydantic model: `"answer.py:Answer"` beside feature.toml, or `"package.module:Class"`.'),
    ] = None


class SlotSpec(Spec, frozen=True, kw_only=True):
    """A typed fact that is fetched when a call needs it, from a database or an address."""

    sql: Annotated[
        str | None, Meta(description="One reading statement that gives one value; `:name` stands for a field of the input.")
    ] = None
    database: Annotated[str | None, Meta(description="The name of a database in mainstay.toml; by default the only one.")] = None
    http: Annotated[
        str | None, Meta(description="An address that gives JSON; `{name}` stands for a field of the input, encoded.")
    ] = None
    value: Annotated[
        str | None, Meta(description="Where in the JSON the value is: a path such as `product.price` or `items.0.sku`.")
    ] = None
    type: Annotated[SlotType, Meta(description="How it is compared with what an answer says.")] = "text"
    unit: Annotated[str, Meta(description="Its currency (`EUR`) or unit (`kg`), where it has one.")] = ""
    fresh: Annotated[Seconds, Meta(description="How long a fetched value may be used again.")] = field(
        default_factory=lambda: Seconds(60)
    )
    stale: Annotated[
        Literal["refuse", "drop", "use"],
        Meta(
            description="When it cannot be fetched and what is known is no longer fresh: `refuse` the rungs that need a model, "
            "`drop` the fact and go on, or `use` the old value and say how old it is."
        ),
    ] = "refuse"
    timeout: Annotated[Seconds, Meta(description="How long fetching may take.")] = field(default_factory=lambda: Seconds(1))


class Confidence(Spec, frozen=True, kw_only=True):
    """How sure an answer has to be."""

    floor: Annotated[
        Share, Meta(description="Below this the next rung is tried; an answer waits for its end where it is above 0.")
    ] = 0.0
    file: Annotated[
        str | None, Meta(description="The calibration that `mainstay learn confidence` writes, beside feature.toml.")
    ] = None


class Router(Spec, frozen=True, kw_only=True):
    """Where a call starts in the ladder, by what it asks."""

    file: Annotated[str | None, Meta(description="The router that `mainstay learn router` writes, beside feature.toml.")] = None
    give_up: Annotated[
        Share, Meta(description="The share of calls that may be answered worse because they start at a cheaper rung.")
    ] = 0.01
    check: Annotated[
        Share,
        Meta(
            description="The share of the calls that start lower which the first rung answers too, for `gate.online` to compare."
        ),
    ] = 0.02


class Refusal(Spec, frozen=True, kw_only=True):
    """What a refusal says beside its reason."""

    next: Annotated[
        str | dict[str, str],
        Meta(description="What the user can do instead: a sentence, or one for each language, such as { en = …, de = … }."),
    ] = ""
    language: Annotated[
        str | None, Meta(description="The language of refusals where the user's is not known or not one that Mainstay speaks.")
    ] = None


class Grounding(Spec, frozen=True, kw_only=True):
    """Where the evidence comes from."""

    sources: Annotated[tuple[str, ...], Meta(description="Names of sources in mainstay.toml.")] = ()
    passages: Annotated[Positive, Meta(description="How many passages are looked for.")] = 5
    required: Annotated[bool, Meta(description="Refuse with `no_evidence` when the sources hold nothing that answers.")] = True
    slots: Annotated[dict[str, SlotSpec], Meta(description="Typed facts fetched at query time.")] = {}


GuardSpec = str | dict[str, Any]


class Guards(Spec, frozen=True, kw_only=True):
    """What checks the input, and what checks every draft before it is shown."""

    input: Annotated[tuple[GuardSpec, ...], Meta(description="Guards on what comes in.")] = ("size",)
    output: Annotated[tuple[GuardSpec, ...], Meta(description="Guards on what goes out.")] = ()


class CacheRules(Spec, frozen=True, kw_only=True):
    """Whether answers are kept for callers who ask the same again."""

    keep: Annotated[Seconds | None, Meta(description="How long an answer may be served again.")] = None
    near: Annotated[
        Literal["auto", "off"] | None,
        Meta(
            description="`auto`: give the answer to a question in nearly the same words too, where `mainstay learn near` has "
            "shown that few enough of such hits are wrong."
        ),
    ] = None
    wrong_hits: Annotated[
        Annotated[float, Meta(gt=0, lt=1)],
        Meta(
            description="The share of near hits that may be wrong; near hits stay off until that is shown with 95 % confidence."
        ),
    ] = 0.01
    checked: Annotated[
        Share, Meta(description="The share of near hits that are answered anew beside, when their user has gone, and compared.")
    ] = 0.02
    embedder: Annotated[
        str | None, Meta(description="The name of an embedder in mainstay.toml whose vectors find and weigh near questions too.")
    ] = None
    ahead: Annotated[
        Positive | str | None,
        Meta(
            description="Questions that are answered before they are asked: how many of those asked most, or a file of them "
            "beside feature.toml."
        ),
    ] = None


class Limits(Spec, frozen=True, kw_only=True):
    """What may be spent and asked: a window's cap is money (`"5 USD"`), calls (`60`), tokens (`"100000 tokens"`), or a list."""

    per_call: Annotated[Usd | None, Meta(description="The most that one call may cost, over all its attempts.")] = None
    feature_per_minute: Annotated[Caps | None, Meta(description="The most that this feature may ask or spend a minute.")] = None
    feature_per_hour: Annotated[Caps | None, Meta(description="The most that this feature may ask or spend an hour.")] = None
    feature_per_day: Annotated[Caps | None, Meta(description="The most that this feature may ask or spend a day.")] = None
    feature_per_month: Annotated[Caps | None, Meta(description="The most that this feature may ask or spend a month.")] = None
    tenant_per_minute: Annotated[
        Caps | None, Meta(description="The most that one tenant with this feature may ask or spend a minute.")
    ] = None
    tenant_per_hour: Annotated[
        Caps | None, Meta(description="The most that one tenant with this feature may ask or spend an hour.")
    ] = None
    tenant_per_day: Annotated[
        Caps | None, Meta(description="The most that one tenant with this feature may ask or spend a day.")
    ] = None
    tenant_per_month: Annotated[
        Caps | None, Meta(description="The most that one tenant with this feature may ask or spend a month.")
    ] = None
    feature_at_once: Annotated[Positive | None, Meta(description="The most calls of this feature at one moment.")] = None
    tenant_at_once: Annotated[
        Positive | None, Meta(description="The most calls of one tenant with this feature at one moment.")
    ] = None


ScorerSpec = str | dict[str, Any]


class Gate(Spec, frozen=True, kw_only=True):
    """What a release has to reach before it goes live."""

    at_least: Annotated[
        int,
        Meta(
            ge=50, description="The least number of cases: 50 for a narrow feature, 100 for most, 200 for one of many purposes."
        ),
    ] = 100
    pass_rate: Annotated[Share | None, Meta(description="The least share of cases that pass.")] = None
    no_category_below: Annotated[Share | None, Meta(description="The least share that passes in each slice.")] = None
    no_category_may_fall_by: Annotated[
        Share, Meta(description="The largest drop of a slice against the live release; a larger one that is real blocks.")
    ] = 0.02
    detect: Annotated[
        Share | None,
        Meta(description="The drop that each slice has to be able to show; a slice with too few cases for it is inconclusive."),
    ] = None
    p95: Annotated[Seconds | None, Meta(description="The 95th percentile of the answer's time.")] = None
    cost: Annotated[Usd | None, Meta(description="What an answer may cost on average.")] = None
    budget: Annotated[Usd | None, Meta(description="What one evaluation may spend.")] = None
    scorers: Annotated[tuple[ScorerSpec, ...], Meta(description="What scores every case, beside what each case expects.")] = ()
    online: Annotated[
        tuple[ScorerSpec, ...], Meta(description="What scores live answers of a canary, its control and a shadow.")
    ] = ()
    slices: Annotated[tuple[str, ...], Meta(description="The tags by which scores are split.")] = ("category",)


class Feature(Spec, frozen=True, kw_only=True):
    """A feature file, read and checked."""

    name: Annotated[str, Meta(description="The feature's name: its folder's."), GIVEN] = ""
    summary: Annotated[str, Meta(min_length=1, description="What the feature does, in one sentence.")]
    delivery: Annotated[
        Literal["stream", "checked", "reviewed"],
        Meta(
            description="`stream`: words leave as guards release them; `checked`: nothing leaves before every guard passed; "
            "`reviewed`: a person first."
        ),
    ] = "stream"
    stakes: Annotated[Literal["normal", "high"], Meta(description="`high`: only what matches a curated source is shown.")] = (
        "normal"
    )
    deadline: Annotated[Seconds, Meta(description="Every call ends within this time.")] = field(
        default_factory=lambda: Seconds(8)
    )
    first_word: Annotated[Seconds | None, Meta(description="An objective for the first word: measured, not a time-out.")] = None
    priority: Annotated[
        Literal["interactive", "standard", "batch"],
        Meta(description="Who goes first under pressure; `batch` waits where others go on to the next rung."),
    ] = "interactive"
    history: Annotated[int, Meta(ge=0, le=200, description="How many earlier turns a call may bring; 0 refuses them.")] = 0
    log: Annotated[LogPolicy, Meta(description="What the record keeps of texts: all, with personal data masked, or nothing.")] = (
        "full"
    )
    input: Annotated[Input, Meta(description="Names and types of what a call brings, or `schema`, a JSON Schema file.")] = Input(
        fields={"question": "text"}
    )
    answer: Annotated[AnswerShape, Meta(description="The shape of a structured answer.")] = AnswerShape()
    grounding: Annotated[Grounding, Meta(description="Where the evidence comes from.")] = Grounding()
    ladder: Annotated[tuple[AnyRung, ...], Meta(description="The ways of answering, best first; the last one needs nothing.")]
    guards: Annotated[Guards, Meta(description="What checks the input and every draft.")] = Guards()
    confidence: Annotated[Confidence, Meta(description="How sure an answer has to be.")] = Confidence()
    router: Annotated[Router, Meta(description="Where a call starts in the ladder, by what it asks.")] = Router()
    refusal: Annotated[Refusal, Meta(description="What a refusal says beside its reason.")] = Refusal()
    cache: Annotated[CacheRules, Meta(description="Whether answers are kept.")] = CacheRules()
    limits: Annotated[Limits, Meta(description="What may be spent and asked.")] = Limits()
    gate: Annotated[Gate, Meta(description="What a release has to reach.")] = Gate()

    @property
    def structured(self) -> bool:
        """Whether the answer is data that fits a schema."""
        return self.answer.schema is not None or self.answer.python is not None

    @property
    def images(self) -> frozenset[str]:
        """The input fields that hold images."""
        return frozenset(name for name, kind in self.input.fields.items() if kind.startswith("image"))

    @property
    def shows_early(self) -> bool:
        """Whether words may leave before the whole draft was checked."""
        return self.delivery == "stream" and not self.structured and not self.confidence.floor


class Rule(Spec, frozen=True, kw_only=True):
    """One rule of the file."""

    name: Annotated[str, Meta(min_length=1, description="What the record calls this rule.")]
    matches: Annotated[tuple[str, ...], Meta(description="RE2 patterns; any of them makes the rule answer.")] = ()
    equals: Annotated[tuple[str, ...], Meta(description="Whole texts, without regard to case and white space.")] = ()
    unless: Annotated[tuple[str, ...], Meta(description="RE2 patterns; any of them keeps the rule silent.")] = ()
    field: Annotated[str | None, Meta(description="The input field to look at; by default all texts together.")] = None
    answer: Annotated[str, Meta(min_length=1, description="A template with the input, the named groups and what was extracted.")]


class RuleFile(Spec, frozen=True, kw_only=True):
    """The whole file."""

    rule: Annotated[tuple[Rule, ...], Meta(min_length=1, description="The rules, in the order in which they are tried.")]
    extract: Annotated[dict[str, str], Meta(description="Patterns whose matches every template sees as lists.")] = {}
