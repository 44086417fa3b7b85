"""Project-wide things: the values that `mainstay.toml` and the environment are read into (by `mainstay/spec/`)."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, field

from mainstay.core.feature import GIVEN, CacheRules, Guards, Limits, Positive, Spec
from mainstay.core.limits import Caps
from mainstay.core.record import LogPolicy
from mainstay.core.units import Seconds, Usd


class Price(Spec, frozen=True, kw_only=True):
    """What a model costs, per million tokens; overrides the bundled price table."""

    input: Annotated[Usd, Meta(description="Per million input tokens.")]
    output: Annotated[Usd, Meta(description="Per million output tokens, reasoning included.")]
    cached_input: Annotated[
        Usd | None, Meta(description="Per million input tokens read from the provider's cache; by default as input.")
    ] = None
    cache_write: Annotated[
        Usd | None, Meta(description="Per million input tokens written to the provider's cache; by default as input.")
    ] = None
    cache_write_1h: Annotated[
        Usd | None,
        Meta(description="Per million input tokens written to the provider's cache for an hour; by default twice the input."),
    ] = None


class Model(Spec, frozen=True, kw_only=True):
    """One model behind one provider."""

    name: Annotated[str, Meta(description="The model's name: its table's."), GIVEN] = ""
    provider: Annotated[
        str,
        Meta(
            description="`openai` (and every compatible server), `anthropic`, `gemini`, `scripted`, `environment`, "
            "or a part of your own."
        ),
    ]
    model: Annotated[
        str, Meta(description="The provider's name for the model; for a compatible server, empty means the one it serves.")
    ] = ""
    url: Annotated[str | None, Meta(description="The API's base address; by default the provider's own.")] = None
    key: Annotated[str | None, Meta(description='Where the secret is: `"env:OPENAI_API_KEY"`. Never the secret itself.')] = None
    optional: Annotated[bool, Meta(description="When the key is not set, go without this model instead of failing at load.")] = (
        False
    )
    max_output: Annotated[Positive, Meta(description="The most tokens it may write, unless a rung says otherwise.")] = 1024
    at_once: Annotated[Positive | None, Meta(description="The most attempts at one moment, in each process; others queue.")] = (
        None
    )
    slow: Annotated[
        Seconds | None,
        Meta(description="A later first word is slow, and opens the breaker where most are; by default far above what is usual."),
    ] = None
    metrics: Annotated[
        str | None, Meta(description="Where an inference server of your own tells the length of its queue, as vLLM does.")
    ] = None
    keep_warm: Annotated[
        Seconds | None, Meta(description="Send a tiny request when it was not asked for so long, so that it stays loaded.")
    ] = None
    cold_after: Annotated[
        Seconds | None,
        Meta(
            description="Not asked for so long it may have to start first, and a call with less time than that does without it."
        ),
    ] = None
    headers: Annotated[dict[str, str], Meta(description="Headers to send with every request.")] = {}
    query: Annotated[
        dict[str, str], Meta(description="Query parameters to send with every request, such as Azure's api-version.")
    ] = {}
    price: Annotated[Price | None, Meta(description="What it costs; by default from the bundled table.")] = None
    image_tokens: Annotated[
        Positive | None,
        Meta(description="The most tokens that one image can be, for limits on money; by default the most at that provider."),
    ] = None
    options: Annotated[dict[str, Any], Meta(description="What the provider's part understands beside this.")] = {}


class Service(Spec, frozen=True, kw_only=True):
    """Something that is neither a model that writes nor a source: an embedder, a reranker, a classifier or a database."""

    name: Annotated[str, Meta(description="Its name: its table's."), GIVEN] = ""
    kind: Annotated[str, Meta(description="Which part it is: one of ours, or a part of your own.")]
    model: Annotated[str, Meta(description="The name that an address has for the model.")] = ""
    url: Annotated[str | None, Meta(description="The address; by default the part's own.")] = None
    path: Annotated[str | None, Meta(description="The file or folder, from mainstay.toml.")] = None
    key: Annotated[str | None, Meta(description='Where the secret is: `"env:OPENAI_API_KEY"`. Never the secret itself.')] = None
    timeout: Annotated[Seconds, Meta(description="How long one request may take.")] = field(default_factory=lambda: Seconds(2))
    options: Annotated[dict[str, Any], Meta(description="What the part understands beside this.")] = {}


class PaidService(Service, frozen=True, kw_only=True):
    """A service that may be charged for by what it is given."""

    price: Annotated[
        Usd | None, Meta(description="What it costs per million tokens; of one that has a key it is not known without this.")
    ] = None


class CuratedSpec(Spec, frozen=True, kw_only=True):
    """Somebody answers for the content of a source."""

    approver: Annotated[str, Meta(min_length=1, description="Who approved it.")]
    review: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", description="The day by which it has to be looked at again.")]


class SourceSpec(Spec, frozen=True, kw_only=True):
    """A source of evidence."""

    kind: Annotated[str, Meta(description="`folder`, `sql`, `http`, or a part of your own.")] = "folder"
    path: Annotated[str | None, Meta(description="The folder or file, from mainstay.toml; `folder` needs it.")] = None
    url: Annotated[str | None, Meta(description="The address; `http` needs it.")] = None
    database: Annotated[str | None, Meta(description="The name of a database in mainstay.toml; `sql` needs it.")] = None
    link: Annotated[
        str | None, Meta(description="Prefix of the link to a passage; the document and its anchor are appended.")
    ] = None
    embedder: Annotated[str | None, Meta(description="The name of an embedder in mainstay.toml; without one, words alone.")] = (
        None
    )
    reranker: Annotated[str | None, Meta(description="The name of a reranker in mainstay.toml.")] = None
    tenants: Annotated[tuple[str, ...], Meta(description="The tenants that may see it; none named means all.")] = ()
    roles: Annotated[tuple[str, ...], Meta(description="The roles that may see it; none named means all.")] = ()
    curated: Annotated[CuratedSpec | None, Meta(description="Who answers for its content, and until when.")] = None
    options: Annotated[dict[str, Any], Meta(description="What the source's part understands beside this.")] = {}


class Server(Spec, frozen=True, kw_only=True):
    """Where the HTTP door listens."""

    host: Annotated[str, Meta(description="The address to bind; anything but loopback needs a key.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="The port.")] = 7070
    at_once: Annotated[
        Positive | None, Meta(description="The most answers that each process works on at one moment; others queue.")
    ] = None
    max_body: Annotated[Positive, Meta(description="The largest request body, in bytes.")] = 10_000_000
    stalled_reader: Annotated[Seconds, Meta(description="How long a reader may take nothing before it is dropped.")] = field(
        default_factory=lambda: Seconds(20)
    )
    drain: Annotated[Seconds, Meta(description="How long running calls may finish after SIGTERM.")] = field(
        default_factory=lambda: Seconds(30)
    )


class Plain(Spec, frozen=True, kw_only=True):
    """How a model that is called by its own name, as if Mainstay were its provider, is governed."""

    deadline: Annotated[Seconds, Meta(description="Every call ends within this time.")] = field(
        default_factory=lambda: Seconds(120)
    )
    tries: Annotated[Positive, Meta(description="How often the model may be asked.")] = 2
    log: Annotated[LogPolicy, Meta(description="What the record keeps of texts.")] = "full"
    guards: Annotated[Guards, Meta(description="What checks the input and every draft.")] = Guards(
        input=({"size": {"max": 1_000_000, "total": 2_000_000}},)
    )
    cache: Annotated[CacheRules, Meta(description="Whether answers are kept.")] = CacheRules()
    limits: Annotated[Limits, Meta(description="What may be spent and asked with each model.")] = Limits()


class ProjectLimits(Spec, frozen=True, kw_only=True):
    """What may be spent and asked over all features. Caps are written as in a feature's `[limits]`."""

    project_per_minute: Annotated[Caps | None, Meta(description="The most that the whole project may ask or spend a minute.")] = (
        None
    )
    project_per_hour: Annotated[Caps | None, Meta(description="The most that the whole project may ask or spend an hour.")] = None
    project_per_day: Annotated[Caps | None, Meta(description="The most that the whole project may ask or spend a day.")] = None
    project_per_month: Annotated[Caps | None, Meta(description="The most that the whole project may ask or spend a month.")] = (
        None
    )
    project_at_once: Annotated[Positive | None, Meta(description="The most calls of the whole project at one moment.")] = None
    tenant_per_minute: Annotated[Caps | None, Meta(description="The most that one tenant may ask or spend a minute.")] = None
    tenant_per_hour: Annotated[Caps | None, Meta(description="The most that one tenant may ask or spend an hour.")] = None
    tenant_per_day: Annotated[Caps | None, Meta(description="The most that one tenant may ask or spend a day.")] = None
    tenant_per_month: Annotated[Caps | None, Meta(description="The most that one tenant may ask or spend a month.")] = None
    tenant_at_once: Annotated[Positive | None, Meta(description="The most calls of one tenant at one moment.")] = None
    key_per_minute: Annotated[Caps | None, Meta(description="The most that one key may ask or spend a minute.")] = None
    key_per_hour: Annotated[Caps | None, Meta(description="The most that one key may ask or spend an hour.")] = None
    key_per_day: Annotated[Caps | None, Meta(description="The most that one key may ask or spend a day.")] = None
    key_per_month: Annotated[Caps | None, Meta(description="The most that one key may ask or spend a month.")] = None
    key_at_once: Annotated[Positive | None, Meta(description="The most calls of one key at one moment.")] = None
    surge: Annotated[
        Annotated[float, Meta(ge=2)] | None,
        Meta(description="How many times the usual spending a minute takes the paid rungs away for five minutes, such as 10."),
    ] = None
    surge_floor: Annotated[Usd | None, Meta(description="Spending a minute that is never unusual; by default 1 USD.")] = None


class TenantSpec(Spec, frozen=True, kw_only=True):
    """What one tenant may spend and ask, in the place of what `[limits]` says of every tenant."""

    per_minute: Annotated[Caps | None, Meta(description="The most that this tenant may ask or spend a minute.")] = None
    per_hour: Annotated[Caps | None, Meta(description="The most that this tenant may ask or spend an hour.")] = None
    per_day: Annotated[Caps | None, Meta(description="The most that this tenant may ask or spend a day.")] = None
    per_month: Annotated[Caps | None, Meta(description="The most that this tenant may ask or spend a month.")] = None
    at_once: Annotated[Positive | None, Meta(description="The most calls of this tenant at one moment.")] = None
    weight: Annotated[
        float, Meta(gt=0, le=1000, description="Its part of the places where calls queue, beside tenants with 1.")
    ] = 1.0


class Settings(Spec, frozen=True, kw_only=True):
    """All of `mainstay.toml` and what the environment adds."""

    features: Annotated[str, Meta(description="The folder of features, from mainstay.toml.")] = "features"
    state: Annotated[str, Meta(description="The folder for the ledger, the cache and the spool, from mainstay.toml.")] = (
        ".mainstay"
    )
    models: Annotated[dict[str, Model], Meta(description="The models, by the names that features use.")] = {}
    sources: Annotated[dict[str, SourceSpec], Meta(description="The sources of evidence, by the names that features use.")] = {}
    databases: Annotated[
        dict[str, Service], Meta(description="Systems of record that are read, by the names that are used.")
    ] = {}
    embedders: Annotated[
        dict[str, PaidService], Meta(description="What turns texts into vectors, by the names that sources use.")
    ] = {}
    rerankers: Annotated[
        dict[str, PaidService], Meta(description="What ranks passages again, by the names that sources use.")
    ] = {}
    classifiers: Annotated[dict[str, PaidService], Meta(description="Trained classifiers, by the names that guards use.")] = {}
    server: Annotated[Server, Meta(description="Where the HTTP door listens.")] = field(default_factory=Server)
    plain: Annotated[Plain, Meta(description="How a model called by its own name is governed.")] = field(default_factory=Plain)
    limits: Annotated[ProjectLimits, Meta(description="What may be spent and asked over all features.")] = ProjectLimits()
    tenants: Annotated[dict[str, TenantSpec], Meta(description="What single tenants may spend and ask, by name.")] = {}
    observers: Annotated[tuple[str, ...], Meta(description="What watches sealed records.")] = ("prometheus",)
