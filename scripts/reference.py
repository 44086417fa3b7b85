"""Writes the generated parts of docs/: tables between `<!-- generated:NAME -->` and `<!-- end -->`, and the two JSON Schemas.

    python scripts/reference.py          # or `make docs`

Every sentence comes from the code: the descriptions of fields, the help of enum members and of commands, the first line of a
part's docstring. So a table cannot say what the code does not. `tests/test_docs.py` calls `written` and compares.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import tempfile
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
import msgspec

from mainstay import registry
from mainstay.core import case, errors, feature, project, reasons
from mainstay.core.errors import ConfigError
from mainstay.core.feature import Hedge
from mainstay.core.limits import Caps
from mainstay.core.units import Seconds, Usd
from mainstay.doors.cli.main import main as commands
from mainstay.learn.adversarial import KINDS
from mainstay.learn.faults import FAULTS
from mainstay.learn.stress import PROBLEMS
from mainstay.parts.observers.prometheus import Prometheus
from mainstay.parts.scorers import cost, judged, latency, schema, similarity
from mainstay.serve import rules
from mainstay.serve.asking import NotRecorded
from mainstay.spec.feature_file import read_folder
from mainstay.spec.schemas import published

ROOT = Path(__file__).parents[1]
_MARKED = re.compile(r"(<!-- generated:([a-z.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_WORDS = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Seconds: "duration",
    Usd: "money",
    Caps: "cap",
    Hedge: 'duration, `"p95"`',
    dict: "table",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = tuple(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


# Tables and keys of files


def keys(kind: type[msgspec.Struct], *, without: Iterable[str] = ()) -> str:
    """The keys that a table of a file may hold."""
    left_out = set(without)
    hints = typing.get_type_hints(kind, include_extras=True)
    rows = [
        (f"`{field.encode_name}`", type_of(hints[field.name]), default_of(field), help_of(hints[field.name]))
        for field in msgspec.structs.fields(kind)
        if field.encode_name not in left_out
    ]
    return table(("key", "type", "default", "what it says"), rows)


def type_of(hint: Any) -> str:
    """A type in the words of the file."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return type_of(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_of(a) for a in arguments if a is not type(None)))
    if origin is Literal:
        return ", ".join(f'`"{a}"`' for a in arguments)
    if origin is tuple:
        return f"list of {type_of(arguments[0])}"
    if origin is dict or (isinstance(hint, type) and issubclass(hint, msgspec.Struct)):
        return "table"
    return _WORDS[hint]


def default_of(field: Any) -> str:
    """A default as it would be written in the file."""
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None or value in ("", (), {}) or isinstance(value, msgspec.Struct):
        return "—"
    if isinstance(value, Seconds | Usd):
        return f'`"{value}"`'
    return f"`{json.dumps(value)}`"


def help_of(hint: Any) -> str:
    """The sentence of a field."""
    found = [note.description for note in getattr(hint, "__metadata__", ()) if getattr(note, "description", None)]
    return found[0] if found else ""


def rungs() -> str:
    """The kinds of rungs."""
    return table(
        ("kind", "in one sentence", "needs a model", "needs evidence"),
        [(f"`{r.kind}`", _first(r.__doc__), _yes(r.needs_model), _yes(r.needs_evidence)) for r in feature.RUNGS],
    )


def rung(kind: str) -> str:
    """The keys of one kind of rung, without those that every rung has."""
    found = next(r for r in feature.RUNGS if r.kind == kind)
    return keys(found, without=[f.encode_name for f in msgspec.structs.fields(feature.Rung)])


def promise(path: tuple[str, ...], value: str | None) -> tuple[str, str]:
    """A promise of `feature.NOT_YET`: its name in the table, and lines of a feature file that make it."""
    *tables, key = path
    line = f'{key} = "{value or "1 USD"}"' if "minute" not in key else f"{key} = 60"
    if not tables:
        return line, line
    head = f"[{'.'.join(tables)}]"
    return f"{head} {key if value is None else line}", f"{head}\n{line}"


def refused() -> str:
    """The promises that a feature file may not make yet: each is tried on the reader."""
    return table(("what a feature file may not say yet", "what the reader answers"), list(_refused()))


def _refused() -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "tried"
        folder.mkdir()
        for name, line in (promise(*unkept) for unkept in feature.NOT_YET):
            (folder / "feature.toml").write_text(f'summary = "Tries"\n{line}\n[[ladder]]\nmessage = "Sorry."\n')
            try:
                read_folder(folder, shown="tried")
            except ConfigError as error:
                yield f"`{name}`", error.what.partition(",")[0]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _first(doc: str | None) -> str:
    return (doc or "").strip().splitlines()[0]


# Words, parts, commands, metrics


def vocabulary(kind: Any) -> str:
    """The members of a documented enum."""
    return table(("value", "what it means"), [(f"`{member}`", member.help) for member in kind])


def outcomes() -> str:
    """What an attempt at a model may end as, if not `ok`, `guarded` or `abandoned`: the kinds of errors."""
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.ModelError)]
    rows = sorted((f"`{k.kind}`", _first(k.__doc__), _yes(k.retryable)) for k in [*kinds, NotRecorded])
    return table(("outcome", "what it means", "tried again on the same model"), rows)


def faults() -> str:
    """What a drill does to a feature."""
    rows = [(f"`{f.name}`", _sentence(f.help)) for f in FAULTS]
    return table(("fault", "what the provider does"), rows)


def points_of(seam: str) -> dict[str, str]:
    """Our own parts of a seam, by entry point."""
    points: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][f"mainstay.{seam}"]
    return points


def options_of(seam: str, name: str) -> str:
    """The options that a part declares."""
    declared = registry.declared_options(registry.imported(points_of(seam)[name]))
    return "" if declared is None else keys(declared)


def parts(seam: str) -> str:
    """Our own parts of a seam, by entry point, each with the first sentence of its module."""
    points = points_of(seam)
    return table(("name", "what it is", "where"), list(_parts(points)))


def _parts(points: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    for name, target in points.items():
        module = target.partition(":")[0]
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            continue
        doc = ast.get_docstring(ast.parse(Path(spec.origin).read_text())) or ""
        said = " ".join(doc.partition("\n\n")[0].split())
        said = re.split(r"(?<=[a-z`)])\. ", said.removeprefix(f"`{name}`: "))[0].rstrip(".")
        said = f"{said[0].upper()}{said[1:]}."
        yield f"`{name}`", f"{said} **Experimental.**" if _experimental(target) else said, f"`{module}`"


def _experimental(target: str) -> bool:
    """Whether a part says of itself that it is below the operating point of its card."""
    module, _, name = target.partition(":")
    return bool(getattr(getattr(importlib.import_module(module), name), "experimental", False))


def each_command(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its whole name; those of a group in place of the group."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from each_command(found, f"{before}{name} ")
        else:
            yield f"{before}{name}", found


def command(found: click.Command) -> str:
    """A command's arguments and options."""
    context = click.Context(found)
    rows = []
    for parameter in found.params:
        shown = ", ".join(parameter.opts) if isinstance(parameter, click.Option) else parameter.make_metavar(context)
        what = (parameter.help or "") if isinstance(parameter, click.Option) else "Argument."
        default = parameter.get_default(context)
        given = isinstance(default, str | int) and not isinstance(default, bool) and default != "."
        rows.append((f"`{shown}`", what, "required" if parameter.required else f"`{default}`" if given else "—"))
    return table(("argument or option", "what it does", "default"), rows)


def _sentence(help: str) -> str:
    return help[0].upper() + help[1:] + "."


def all_commands() -> str:
    """The commands, with the first sentence of each."""
    said = {name: _first(found.help).split(". ")[0].rstrip(".") for name, found in each_command(commands)}
    rows = [(f"`mainstay {name}`", f"{what}.".replace("?.", "?")) for name, what in said.items()]
    return table(("command", "what it does"), rows)


def recipes() -> str:
    """What `make` offers."""
    found = re.findall(r"^([a-z-]+): .*?## (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return table(("recipe", "what it does"), [(f"`make {name}`", f"{what}.".replace("?.", "?")) for name, what in found])


def quality() -> str:
    """The figures of the last `make bench-quality` that was kept."""
    rows = json.loads((ROOT / "docs" / "reference" / "quality.json").read_text(encoding="utf-8"))
    shown = [
        (
            row["set"],
            row["metric"],
            "—" if row["published"] is None else f"{row['published']:.3f}",
            f"{row['ours']:.3f}",
            str(row["n"]),
        )
        for row in rows
    ]
    return table(("set", "metric", "published", "ours", "rows"), shown)


def metrics() -> str:
    """Every metric with its labels."""
    rows = []
    for metric in Prometheus().collect():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        rows.append((f"`{name}`", metric.type, labels, metric.documentation))
    return table(("metric", "type", "labels", "what it counts"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "settings": lambda: keys(project.Settings, without=["models", "sources", "server", "plain"]),
    "settings.models": lambda: keys(project.Model, without=["name"]),
    "settings.price": lambda: keys(project.Price),
    "settings.sources": lambda: keys(project.SourceSpec),
    "settings.databases": lambda: keys(project.Service, without=["name", "model", "url", "key", "timeout", "options"]),
    "settings.services": lambda: keys(project.PaidService, without=["name"]),
    "settings.server": lambda: keys(project.Server),
    "settings.plain": lambda: keys(project.Plain),
    "feature": lambda: keys(
        feature.Feature, without=["name", "input", "answer", "grounding", "ladder", "guards", "cache", "limits", "gate", "router"]
    ),
    "feature.answer": lambda: keys(feature.AnswerShape),
    "feature.grounding": lambda: keys(feature.Grounding, without=["slots"]),
    "feature.slots": lambda: keys(feature.SlotSpec),
    "feature.guards": lambda: keys(feature.Guards),
    "feature.cache": lambda: keys(feature.CacheRules),
    "feature.limits": lambda: keys(feature.Limits),
    "settings.limits": lambda: keys(project.ProjectLimits),
    "settings.tenants": lambda: keys(project.TenantSpec),
    "feature.gate": lambda: keys(feature.Gate),
    "feature.router": lambda: keys(feature.Router),
    "feature.refused": refused,
    "cases": lambda: keys(case.Case),
    "rungs": rungs,
    "rung": lambda: keys(feature.Rung),
    **{f"rung.{r.kind}": (lambda kind=r.kind: rung(kind)) for r in feature.RUNGS},
    "rung.steps.step": lambda: keys(feature.PromptStep),
    "rules": lambda: keys(rules.Rule),
    **{
        f"guards.{name.replace('_', '-')}": (lambda name=name: options_of("guards", name))
        for name in points_of("guards")
        if options_of("guards", name)
    },
    "scorers.cost": lambda: keys(cost.Options),
    "scorers.judged": lambda: keys(judged.Options),
    "scorers.latency": lambda: keys(latency.Options),
    "scorers.schema": lambda: keys(schema.Options),
    "scorers.similarity": lambda: keys(similarity.Options),
    "statuses": lambda: vocabulary(reasons.Status),
    "reasons": lambda: vocabulary(reasons.Reason),
    **{
        f"parts.{seam}": (lambda seam=seam: parts(seam))
        for seam in (
            *("providers", "readers", "databases", "embedders", "rerankers", "classifiers"),
            *("guards", "scorers", "observers"),
        )
    },
    "outcomes": outcomes,
    "faults": faults,
    "stress.kinds": lambda: table(("kind", "what is tried"), [(f"`{name}`", _sentence(KINDS[name])) for name in KINDS]),
    "stress.problems": lambda: table(("problem", "what it means"), [(f"`{n}`", _sentence(what)) for n, what in PROBLEMS.items()]),
    "commands": all_commands,
    **{f"command.{name.replace(' ', '-')}": (lambda found=found: command(found)) for name, found in each_command(commands)},
    "metrics": metrics,
    "quality": quality,
    "make": recipes,
}


def filled(text: str) -> str:
    """A page with its generated parts made anew."""
    return _MARKED.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}{m[3]}", text)


def written() -> dict[Path, str]:
    """Every generated file and page, as it has to be."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    pages = {p: p.read_text(encoding="utf-8") for p in files}
    found = {path: filled(text) for path, text in pages.items() if _MARKED.search(text)}
    return found | {ROOT / "docs" / "reference" / name: schema for name, schema in published().items()}


def main() -> None:
    for path, text in written().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
