# ruff: noqa: E501  whole sentences stand on one line here, so that they can be compared at a glance
"""Every kind of slip in a project's files, through the front door: file, line, key, what was expected, the nearest right word.

Each row is a small change to a project that loads, and the whole error that it gives.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import mainstay
from mainstay.core.errors import ConfigError

SETTINGS = """\
[models.small]
provider = "scripted"

[sources.docs]
path = "docs"
"""
FEATURE = """\
summary = "Answers"
deadline = "2s"

[input]
question = "text"

[[ladder]]
model = "small"
prompt = "prompt.md"

[[ladder]]
message = "Sorry."
"""
PROMPT = "{{ question }}\n"
RULES = '[[rule]]\nname = "a"\nmatches = ["x"]\nanswer = "y"\n'

M, F, P = "mainstay.toml", "features/answers/feature.toml", "features/answers/prompt.md"
FILES: dict[str, str] = {M: SETTINGS, F: FEATURE, P: PROMPT, "docs/a.md": "# A\n\ntext\n"}
MODEL = 'model = "small"\nprompt = "prompt.md"'


class Slip(NamedTuple):
    """What is changed (`(old, new)` in a file of the project, or a file's whole content) and what is said of it."""

    name: str
    says: str
    edits: dict[str, Any]


def feature(name: str, old: str, new: str, says: str, /, **files: Any) -> Slip:
    """A change of feature.toml, and further files in its folder; `_` in a keyword stands for the dot."""
    beside = {f"features/answers/{file.replace('_', '.')}": content for file, content in files.items()}
    return Slip(name, says, {F: (old, new), **beside})


def added(name: str, more: str, says: str, /, **files: Any) -> Slip:
    """More at the end of feature.toml."""
    return feature(name, 'message = "Sorry."\n', f'message = "Sorry."\n{more}', says, **files)


def settings(name: str, old: str, new: str, says: str) -> Slip:
    """A change of mainstay.toml."""
    return Slip(name, says, {M: (old, new)})


def prompt(name: str, text: str | bytes, says: str) -> Slip:
    """Another prompt."""
    return Slip(name, says, {P: text})


def rules(name: str, text: str, says: str) -> Slip:
    """A rung of rules in place of the model's."""
    return feature(name, MODEL, 'rules = "rules.toml"', says, rules_toml=text)


def call(name: str, source: str, says: str) -> Slip:
    """A rung that calls a function in place of the model's."""
    return feature(name, MODEL, 'call = "a.py:f"', says, a_py=source)


KINDS = "a rung is exactly one of rules, classifier, model, steps, call, search, stale, message"
TYPES = "text, text?, number, number?, integer, integer?, boolean, boolean?, texts, texts?, image, image?"
UNITS = 'expected a duration with its unit, such as "500ms", "8s", "5m", "1h" or "7d"'
OWN = '\n  next: or name one of your own by path, "package.module:Class"'
EARLY = "cannot be enforced by this version, and a promise that is not kept is not accepted; remove it"
SECRET = 'a secret never stands in a file; a model\'s `key` names the variable that holds it\n  next: key = "env:NAME"'
ANSWER = '\n[answer]\nschema = "a.json"\n'
DATA = 'message = { a = 1 }\n\n[answer]\nschema = "a.json"\n'
SORRY = 'message = "Sorry."\n'

UNKNOWN_KEYS = [
    feature("at the top", "deadline", "deadlin", f'{F}:2 deadlin: unknown key; did you mean "deadline"?'),
    feature("ladder", "[[ladder]]", "[[lader]]", f'{F}:7 lader: unknown key; did you mean "ladder"?'),
    feature("of a rung", "prompt =", "promt =", f'{F}:9 ladder[0].promt: unknown key; did you mean "prompt"?'),
    feature("kind of rung", "model =", "modle =", f'{F}:8 ladder[0].modle: {KINDS}; `modle` is unknown; did you mean "model"?'),
    added("of a table", '[guards]\noutputs = ["size"]\n', f'{F}:14 guards.outputs: unknown key; did you mean "output"?'),
    added(
        "of a guard",
        '[guards]\ninput = [\n  "terms",\n  { size = { mx = 5 } },\n]\n'.replace('"terms"', '"size"'),
        f'{F}:16 guards.input[1].size.mx: unknown key; did you mean "max"?',
    ),
    feature(
        "its own name",
        "deadline",
        'name = "x"\ndeadline',
        f"{F}:2 name: unknown key; a feature's name is its folder's, so remove it",
    ),
    settings("of the project", "[models", 'featurs = "x"\n[models', f'{M}:1 featurs: unknown key; did you mean "features"?'),
    settings("of a model", "provider =", "providr =", f'{M}:2 models.small.providr: unknown key; did you mean "provider"?'),
    settings(
        "a model's own name",
        "provider =",
        'name = "x"\nprovider =',
        f"{M}:2 models.small.name: unknown key; a model's name is its table's, and the provider's name for it is `model`",
    ),
    settings("of a source", "path", "pth", f'{M}:5 sources.docs.pth: unknown key; did you mean "path"?'),
    settings(
        "of a source's part",
        "path",
        "options = { lnk = 1 }\npath",
        f'{M}:5 sources.docs.options.lnk: unknown key; did you mean "link"?',
    ),
    settings("of the server", "[sources", "[server]\nprt = 1\n[sources", f'{M}:5 server.prt: unknown key; did you mean "port"?'),
    settings(
        "of an inline table",
        '"scripted"',
        '"scripted"\nprice = { input = "1 USD", outptu = "2 USD" }',
        f'{M}:3 models.small.price.outptu: unknown key; did you mean "output"?',
    ),
    rules(
        "of a rule",
        RULES.replace("matches", "matchs"),
        'features/answers/rules.toml:3 rule[0].matchs: unknown key; did you mean "matches"?',
    ),
    feature(
        "of a step",
        MODEL,
        '[[ladder.steps]]\nname = "a"\nmodel = "small"\nprompt = "prompt.md"\ntemprature = 0',
        f'{F}:12 ladder[0].steps[0].temprature: unknown key; did you mean "temperature"?',
    ),
    added(
        "that looks like a path",
        '"a - at `$.b" = 1\n'.join(("[gate]\n", "")),
        f"{F}:14 gate.'a - at `$.b': unknown key; known: at_least, budget, cost, detect, no_category_below, no_category_may_fall_by, online, p95, pass_rate, scorers, slices",
    ),
]

WRONG_VALUES = [
    feature(
        "text for a number",
        "prompt =",
        'tries = "2"\nprompt =',
        f"{F}:9 ladder[0].tries: expected an integer, got a string. How often the model may be asked: after an error, or with a guard's remark.",
    ),
    feature(
        "number for a text",
        '"Answers"',
        "3",
        f"{F}:1 summary: expected a string, got an integer. What the feature does, in one sentence.",
    ),
    feature(
        "empty summary",
        '"Answers"',
        '""',
        f"{F}:1 summary: expected a string that is not empty. What the feature does, in one sentence.",
    ),
    feature("table for an array", "[[ladder]]\nmodel", "[ladder]\nmodel", f"{F}:11: not TOML: cannot overwrite a value"),
    feature(
        "number out of bounds",
        "prompt =",
        "temperature = 3\nprompt =",
        f"{F}:9 ladder[0].temperature: expected a number of at most 2. Sampling temperature; by default the provider's.",
    ),
    feature(
        "not a number",
        "prompt =",
        "temperature = nan\nprompt =",
        f"{F}:9 ladder[0].temperature: expected a number of at least 0. Sampling temperature; by default the provider's.",
    ),
    settings(
        "in a table of texts",
        '"scripted"',
        '"scripted"\n[models.small.headers]\n"X-A" = "a"\n"X-B" = 3',
        f"{M}:5 models.small.headers.X-B: expected a string, got an integer",
    ),
    settings(
        "port",
        "[sources",
        "[server]\nport = 99999\n[sources",
        f"{M}:5 server.port: expected an integer of at most 65535. The port.",
    ),
    settings(
        "models is no table",
        '[models.small]\nprovider = "scripted"',
        "models = 3",
        f"{M}:1 models: expected tables, such as [models.name]",
    ),
    settings(
        "a model's name",
        "models.small",
        "models.'a b'",
        f'{M}:1 models.\'a b\': a name has letters, digits, ".", "_", "-" and "/", and begins with a letter or a digit',
    ),
    feature("duration without unit", '"2s"', '"2"', f'{F}:2 deadline: {UNITS}, got "2". Every call ends within this time.'),
    feature("duration as a number", '"2s"', "2", f"{F}:2 deadline: {UNITS}, got 2. Every call ends within this time."),
    feature("duration of odd digits", '"2s"', '"٢s"', f'{F}:2 deadline: {UNITS}, got "٢s". Every call ends within this time.'),
    feature("no time at all", '"2s"', '"0s"', f"{F}:2 deadline: this has to be longer than nothing"),
    feature(
        "no time for a rung",
        "prompt =",
        'timeout = "0ms"\nprompt =',
        f"{F}:9 ladder[0].timeout: this has to be longer than nothing",
    ),
    settings(
        "money",
        '"scripted"',
        '"scripted"\nprice = { input = "1 EUR", output = "1 USD" }',
        f'{M}:3 models.small.price.input: expected an amount with its currency, such as "0.02 USD", got "1 EUR". Per million input tokens.',
    ),
    feature(
        "choice",
        "deadline",
        'delivery = "streem"\ndeadline',
        f'{F}:2 delivery: "streem" is not one of stream, checked, reviewed; did you mean "stream"?',
    ),
    feature("choice of another type", "deadline", "log = 3\ndeadline", f"{F}:2 log: 3 is not one of full, redacted, none"),
    feature("type of an input", '"text"', '"txt"', f'{F}:5 input.question: "txt" is not one of {TYPES}; did you mean "text"?'),
    feature(
        "name of an input",
        "question =",
        '"a b" =',
        f"{F}:5 input.'a b': an input's name has letters, digits and `_`, and begins with no digit",
    ),
    feature(
        "reserved input",
        "question =",
        "passages =",
        f"{F}:5 input.passages: `passages` is what Mainstay gives to templates; choose another name",
    ),
    feature(
        "input of both kinds",
        "question =",
        'schema = "a.json"\nquestion =',
        f"{F}:6 input.question: either `schema` or named fields, not both",
    ),
    feature(
        "call without a function",
        MODEL,
        'call = "a.py"',
        f'{F}:8 ladder[0].call: this is not written as it has to be. The function: `"answers.py:reply"` beside feature.toml, or `"package.module:function"`.',
    ),
    settings(
        "address",
        '"scripted"',
        '"openai"\nurl = "host:80"',
        f'{M}:3 models.small.url: expected an address such as https://api.example.com/v1, got "host:80"',
    ),
]

MISSING = [
    feature(
        "key at the top",
        'summary = "Answers"\n',
        "",
        f"{F}: the key `summary` is missing: What the feature does, in one sentence.",
    ),
    feature(
        "key of a rung",
        'prompt = "prompt.md"\n',
        "",
        f"{F}:7 ladder[0]: the key `prompt` is missing: The prompt's Markdown file, beside feature.toml.",
    ),
    settings(
        "key of a price",
        '"scripted"',
        '"scripted"\nprice = { input = "1 USD" }',
        f"{M}:3 models.small.price: the key `output` is missing: Per million output tokens, reasoning included.",
    ),
    settings(
        "provider",
        'provider = "scripted"',
        "",
        f"{M}:1 models.small: the key `provider` is missing: `openai` (and every compatible server), `anthropic`, `gemini`, `scripted`, `environment`, or a part of your own.",
    ),
    settings("path of a source", 'path = "docs"', "", f"{M}:4 sources.docs: the key `path` is missing"),
    rules(
        "answer of a rule",
        RULES.replace('answer = "y"\n', ""),
        "features/answers/rules.toml:1 rule[0]: the key `answer` is missing: A template with the input, the named groups and what was extracted.",
    ),
    Slip(
        "ladder",
        f"{F}: the key `ladder` is missing: the ways of answering, best first\n  next: mainstay init",
        {F: 'summary = "A"\n'},
    ),
    feature(
        "ladder in single brackets",
        FEATURE[FEATURE.index("[[") :],
        '[ladder]\nmessage = "x"\n',
        f"{F}:7 ladder: expected at least one [[ladder]] table, in double brackets",
    ),
    feature(
        "prompt", "prompt.md", "promt.md", f'{F}:9 ladder[0].prompt: the file "promt.md" is missing; did you mean "prompt.md"?'
    ),
    feature(
        "prompt, a folder",
        "prompt.md",
        "b",
        f'{F}:9 ladder[0].prompt: the file "b" is a folder; beside feature.toml there is b/x.md, prompt.md',
        **{"b/x_md": "x"},
    ),
    feature(
        "rules",
        MODEL,
        'rules = "words.toml"',
        f'{F}:8 ladder[0].rules: the file "words.toml" is missing; beside feature.toml there is prompt.md',
    ),
    feature("schema", SORRY, DATA, f'{F}:15 answer.schema: the file "a.json" is missing; beside feature.toml there is prompt.md'),
    feature(
        "function's file",
        MODEL,
        'call = "a.py:f"',
        f'{F}:8 ladder[0].call: the file "a.py" is missing; beside feature.toml there is prompt.md',
    ),
    feature("model", '"small"', '"smal"', f'{F}:8 ladder[0].model: there is no model "smal"; did you mean "small"?'),
    feature(
        "model, nothing near",
        '"small"',
        '"gpt"',
        f'{F}:8 ladder[0].model: there is no model "gpt"; known: small\n  next: add [models.gpt] to mainstay.toml',
    ),
    added(
        "source",
        '[grounding]\nsources = ["docs",\n "dcos"]\n',
        f'{F}:15 grounding.sources[1]: there is no source "dcos"; did you mean "docs"?',
    ),
    feature(
        "source of a search", MODEL, 'search = "doc"', f'{F}:8 ladder[0].search: there is no source "doc"; did you mean "docs"?'
    ),
    feature(
        "model of a step",
        MODEL,
        'steps = [\n{ name = "a", model = "small", prompt = "prompt.md" },\n{ name = "b", model = "smal", prompt = "prompt.md" }]',
        f'{F}:10 ladder[0].steps[1].model: there is no model "smal"; did you mean "small"?',
    ),
    added(
        "guard", '[guards]\ninput = ["sise"]\n', f'{F}:14 guards.input[0]: there is no guard "sise"; did you mean "size"?{OWN}'
    ),
    settings(
        "guard of plain models",
        "[sources",
        '[plain.guards]\ninput = ["sise"]\n[sources',
        f'{M}:5 plain.guards.input[0]: there is no guard "sise"; did you mean "size"?{OWN}',
    ),
    settings(
        "provider",
        '"scripted"',
        '"scriptd"',
        f'{M}:2 models.small.provider: there is no provider "scriptd"; did you mean "scripted"?{OWN}',
    ),
    settings(
        "kind of source",
        "path",
        'kind = "foldr"\npath',
        f'{M}:5 sources.docs.kind: there is no kind of source "foldr"; did you mean "folder"?{OWN}',
    ),
    settings(
        "observer",
        "[models",
        'observers = ["promtheus"]\n[models',
        f'{M}:1 observers[0]: there is no observer "promtheus"; did you mean "prometheus"?{OWN}',
    ),
    added(
        "part by path",
        '[guards]\ninput = ["nosuchpackage.guards:No"]\n',
        f"{F}:14 guards.input[0]: the guard \"nosuchpackage.guards:No\" cannot be imported: ModuleNotFoundError: No module named 'nosuchpackage'\n  next: install it, or put its module beside mainstay.toml",
    ),
    added(
        "class of a part",
        '[guards]\ninput = ["json:NoSuch"]\n',
        f"{F}:14 guards.input[0]: the guard \"json:NoSuch\" cannot be imported: AttributeError: module 'json' has no attribute 'NoSuch'\n  next: python -c \"from json import NoSuch\"",
    ),
]

GUARDS = [
    added(
        "of a wrong type", "[guards]\noutput = [3]\n", f"{F}:14 guards.output[0]: expected a string or a table, got an integer"
    ),
    added(
        "two in one",
        '[guards]\noutput = [{ size = {}, terms = ["a"] }]\n',
        f"{F}:14 guards.output[0]: a guard is a name, or a table of one name and its options",
    ),
    added(
        "its shorthand",
        '[guards]\noutput = [{ terms = "a" }]\n',
        f"{F}:14 guards.output[0].terms: expected an array, got a string. The words that must not appear.",
    ),
    added(
        "its choice",
        '[guards]\noutput = [{ terms = { terms = ["a"], action = "refus" } }]\n',
        f'{F}:14 guards.output[0].terms.action: "refus" is not one of refuse, retry, redact; did you mean "refuse"?',
    ),
    added(
        "its number",
        "[guards]\ninput = [{ size = { max = 0 } }]\n",
        f"{F}:14 guards.input[0].size.max: expected an integer of at least 1. The most characters of one text.",
    ),
    added("its value", '[guards]\noutput = [{ terms = ["a", " "] }]\n', f"{F}:14 guards.output[0].terms: a term is empty"),
    added(
        "schema by hand",
        '[guards]\noutput = ["schema"]\n',
        f"{F}:14 guards.output[0]: it needs the schema or the model that [answer] names",
    ),
    added("no guard at all", '[guards]\noutput = ["json:loads"]\n', f"{F}:14 guards.output[0]: the key `s` is missing"),
    added(
        "no guard, but made",
        '[guards]\noutput = ["collections:OrderedDict"]\n',
        f"{F}:14 guards.output[0]: the guard `collections:OrderedDict` has no `hold`: a number of characters, or a Hold",
    ),
    added(
        "stops the message",
        '[guards]\noutput = [{ terms = ["sorry"] }]\n',
        f"{F}:12 ladder[1].message: the last rung's message does not pass the guard `terms`: the term 'Sorry' must not appear",
    ),
]

FILES_AS_SUCH = [
    Slip(
        "not UTF-8",
        f"{F}:2: the file is not UTF-8: invalid continuation byte at byte 16\n  next: save it as UTF-8",
        {F: b'summary = "a"\n# \xe4\n'},
    ),
    prompt(
        "prompt not UTF-8",
        b"abc\n\xff {{ question }}",
        f"{P}:2: the file is not UTF-8: invalid start byte at byte 4\n  next: save it as UTF-8",
    ),
    feature(
        "text without quotes",
        '"2s"',
        "2s",
        f'{F}:2: not TOML: expected newline or end of document after a statement\n  next: a text stands in quotes: deadline = "…"',
    ),
    feature("no value", '"2s"', "", f"{F}:2: not TOML: invalid value"),
    feature("twice the same key", "deadline", 'summary = "b"\ndeadline', f"{F}:2: not TOML: cannot overwrite a value"),
    added("open bracket", "[guards\n", f"{F}:13: not TOML: expected ']' at the end of a table declaration"),
    Slip("nested without end", f"{F}: not TOML that can be read: it is nested too deeply", {F: "a = " + "[" * 5000 + "]" * 5000}),
    Slip("no settings", f"{M}: the file is missing\n  next: mainstay init", {M: None}),
    Slip(
        "no folder of features",
        "ROOT/feats: the folder of features is missing\n  next: mainstay init",
        {M: ("[models", 'features = "feats"\n[models')},
    ),
    feature(
        "above the folder",
        "prompt.md",
        "../../mainstay.toml",
        f'{F}:9 ladder[0].prompt: the file "../../mainstay.toml" is outside the feature\'s folder',
    ),
    feature(
        "absolute", "prompt.md", "/etc/passwd", f'{F}:9 ladder[0].prompt: the file "/etc/passwd" is outside the feature\'s folder'
    ),
    feature(
        "a zero byte",
        "prompt.md",
        "a\\u0000b",
        f'{F}:9 ladder[0].prompt: the file "a\\u0000b" cannot be read: embedded null byte',
    ),
    feature(
        "a long name",
        '"prompt.md"',
        '"' + 300 * "a" + '"',
        f'{F}:9 ladder[0].prompt: the file "{58 * "a"}… cannot be read: File name too long',
    ),
    Slip(
        "feature's name",
        "features/Bad-Name: a feature's name is lower-case letters, digits and \"_\": 'Bad-Name'",
        {"features/Bad-Name/feature.toml": FEATURE},
    ),
    settings(
        "source without files",
        '"docs"',
        '"nowhere"',
        f'{M}:4 sources.docs: there is no file or folder "ROOT/nowhere"\n  next: check its `path`',
    ),
]

PROMPTS = [
    prompt(
        "variable",
        "[system]\nhi\n\n[user]\nx\n{{ qestion }}\n",
        f'{P}:6: nothing gives the variable `qestion`; did you mean "question"?',
    ),
    prompt(
        "first of two",
        "{{ b }}\n{{ a }}\n",
        f"{P}:1: nothing gives the variable `b`; known: history, passages, question, slots, steps",
    ),
    prompt(
        "passages without sources",
        "{{ passages }}",
        f"{P}: nothing gives the variable `passages` here\n  next: name sources in [grounding]",
    ),
    prompt("history undeclared", "{{ history }}", f"{P}: nothing gives the variable `history` here\n  next: declare history = 6"),
    prompt(
        "steps in no step",
        "{{ steps.a }}",
        f"{P}: nothing gives the variable `steps` here\n  next: only the later prompts of a `steps` rung read what earlier ones wrote",
    ),
    added(
        "attribute",
        '[grounding]\nsources = ["docs"]\n',
        f'{P}:3: the template cannot be filled: undefined value: `p.txt` is undefined; did you mean "text"?',
        prompt_md="[system]\n{% for p in passages %}\n{{ p.txt }}\n{% endfor %}\n[user]\n{{ question }}\n",
    ),
    prompt(
        "attribute of a text",
        "\n{{ question.text }}",
        f"{P}:2: the template cannot be filled: undefined value: `question.text` is undefined",
    ),
    prompt(
        "method",
        "\n\n{{ question.shout() }}\n",
        f"{P}:3: the template cannot be filled: unknown method: string has no method named shout",
    ),
    prompt(
        "filter", "\n\n{{ question | shout }}\n", f"{P}:3: the template cannot be filled: unknown filter: filter shout is unknown"
    ),
    prompt(
        "syntax",
        "[system]\nhi\n\n\n[user]\nx\n{{ question\n",
        f"{P}:7: the template cannot be read: syntax error: unexpected end of input, expected end of variable block",
    ),
    prompt(
        "block over two messages",
        "[system]\nhi\n{% if question %}\n\n[user]\nx\n{% endif %}\n",
        f"{P}:3: the template cannot be read: syntax error: unexpected end of input, expected end of block",
    ),
    prompt(
        "include",
        "{% include 'other.md' %}",
        f"{P}:1: the template cannot be filled: template not found: tried to include non-existing template 'other.md'",
    ),
    prompt(
        "role",
        "[sytem]\nhi\n[user]\n{{ question }}\n",
        f"{P}:1: a line of its own that is nearly a role: '[sytem]'\n  next: [system]",
    ),
    prompt(
        "role in capitals",
        "hi\n[User]\n{{ question }}\n",
        f"{P}:2: a line of its own that is nearly a role: '[User]'\n  next: [user]",
    ),
    prompt("empty", "\n \n", f"{P}: the prompt is empty"),
    prompt("only roles", "[system]\n\n[user]\n", f"{P}: the prompt is empty"),
    prompt(
        "nothing of the user",
        "[system]\n{{ question }}\n",
        f"{P}: the prompt has no message of the user, which every model needs\n  next: [user]",
    ),
]

LADDERS = [
    feature(
        "last rung can fail",
        "\n[[ladder]]\nmessage",
        "\n[gate]\n#",
        f'{F}:7 ladder[0]: the last rung can fail: `model`; the ladder has to end in a `message`, which needs nothing\n  next: add [[ladder]] with message = "…" at the end of the file',
    ),
    feature(
        "message above",
        "[[ladder]]\nmodel",
        '[[ladder]]\nmessage = "a"\n[[ladder]]\nmodel',
        f"{F}:7 ladder[0]: a `message` always answers, so nothing below it is ever reached",
    ),
    feature(
        "two kinds",
        "prompt =",
        'search = "docs"\nprompt =',
        f"{F}:9 ladder[0].search: {KINDS}; this one names both `model` and `search`",
    ),
    feature(
        "no kind",
        'model = "small"\nprompt = "prompt.md"',
        "tries = 2",
        f"{F}:7 ladder[0]: {KINDS}; this one names no way of answering",
    ),
    feature(
        "two names",
        "prompt =",
        'name = "message"\nprompt =',
        f'{F}:13 ladder[1].name: ladder[0] has the name "message" already; choose another',
    )
    ._replace(edits={F: FEATURE.replace("prompt =", 'name = "a"\nprompt =').replace("message =", 'name = "a"\nmessage =')})
    ._replace(says=f'{F}:13 ladder[1].name: ladder[0] has the name "a" already; choose another'),
    feature(
        "two steps of one name",
        MODEL,
        "\n".join(['[[ladder.steps]]\nname = "a"\n' + MODEL] * 2),
        f'{F}:13 ladder[0].steps[1].name: steps[0] has the name "a" already; choose another',
    ),
    feature(
        "step's name",
        MODEL,
        '[[ladder.steps]]\nname = "A b"\n' + MODEL,
        f"{F}:9 ladder[0].steps[0].name: this is not written as it has to be. The name under which later steps read this one's text: lower-case letters, digits and `_`.",
    ),
    feature(
        "message that does not fit",
        SORRY,
        DATA,
        f'{F}:12 ladder[1].message: the last rung\'s message does not pass the guard `schema`: at $: "b" is a required property',
        a_json='{"type": "object", "required": ["b"]}',
    ),
    added(
        "text where data is due",
        ANSWER,
        f'{F}:12 ladder[1].message: the answer has a schema, so the last rung\'s message has to be data that fits it\n  next: write message = {{ key = "value", … }}',
        a_json="{}",
    ),
    feature(
        "data where a text is due",
        '"Sorry."',
        "{ a = 1 }",
        f"{F}:12 ladder[1].message: the answer is text, so the message has to be a text too\n  next: or give [answer] a schema",
    ),
    feature(
        "empty message",
        '"Sorry."',
        '" "',
        f"{F}:12 ladder[1].message: the message is empty; it is what people read when nothing else answers",
    ),
    feature(
        "message beyond JSON",
        SORRY,
        DATA.replace("1", "[nan]"),
        f"{F}:12 ladder[1].message: the message cannot be written as JSON: a number is too large, or not a number",
        a_json="{}",
    ),
]


def schema(name: str, content: str, says: str) -> Slip:
    """Another answer schema."""
    return feature(name, SORRY, DATA, f"features/answers/a.json{says}", a_json=content)


SCHEMAS = [
    *[
        schema(
            f"refers to {ref}",
            f'{{"$ref": "{ref}"}}',
            f": a schema may not refer to {shown}: nothing is fetched\n  next: put the definition under $defs",
        )
        for ref, shown in [
            ("http://127.0.0.1:9/a.json", "http://127.0.0.1:9/a.json"),
            ("https://example.com/a.json", "https://example.com/a.json"),
            ("file:///etc/passwd", "file:///etc/passwd"),
            ("b.json", "json-schema:///b.json"),
        ]
    ],
    schema("refers to nothing", '{"$ref": "#/$defs/x"}', ": not a JSON Schema: Pointer '/$defs/x' does not exist"),
    schema(
        "word",
        '{"properties": {"a": {"type": "strng"}}}',
        ": not a JSON Schema: \"strng\" is not valid under any of the schemas listed in the 'anyOf' keyword, at $.properties.a.type",
    ),
    schema("not JSON", '{\n"type":\n}', ":3: not JSON: Expecting value, at column 1"),
    schema("not an object", "true", ': expected a JSON Schema that is an object, such as {"type": "object"}'),
    feature(
        "input that is no object",
        'question = "text"',
        'schema = "i.json"',
        'features/answers/i.json: an input is an object of named fields, so the schema\'s type has to be "object"',
        i_json='{"type": "array"}',
    ),
    feature(
        "input with a reserved name",
        'question = "text"',
        'schema = "i.json"',
        "features/answers/i.json: `steps` is what Mainstay gives to templates; choose another name",
        i_json='{"properties": {"steps": {}}}',
    ),
    feature(
        "both", SORRY, DATA + 'python = "a.py:A"\n', f"{F}:16 answer.python: either `schema` or `python`, not both", a_json="{}"
    ),
    feature(
        "no pydantic model",
        SORRY,
        DATA.replace('schema = "a.json"', 'python = "a.py:A"'),
        f"{F}:15 answer.python: `a.py:A` is not a pydantic model",
        a_py="class A: pass",
    ),
]

R = "features/answers/rules.toml"
RULES_FILES = [
    rules("open bracket", RULES.replace('"x"', '"("'), f"{R}:3 rule[0].matches[0]: the pattern '(' is not RE2: missing ): ("),
    rules(
        "not RE2",
        RULES.replace('"x"', '"ok", "(?<=x)y"'),
        f"{R}:3 rule[0].matches[1]: the pattern '(?<=x)y' is not RE2: invalid perl operator: (?<=",
    ),
    rules(
        "empty pattern", RULES.replace('"x"', '""'), f"{R}:3 rule[0].matches[0]: a pattern is empty, and would match everything"
    ),
    rules("neither", RULES.replace('matches = ["x"]\n', ""), f"{R}:1 rule[0]: a rule needs `matches` or `equals`"),
    rules(
        "empty text",
        RULES.replace("matches", "equals").replace('"x"', '"x", " "'),
        f"{R}:3 rule[0].equals[1]: this text is empty",
    ),
    rules(
        "variable",
        RULES.replace('"y"', '"{{ nope }}"'),
        f"{R}:4 rule[0].answer: nothing gives the variable `nope`; known: extracted, question",
    ),
    rules(
        "template",
        RULES.replace('"y"', '"""\nq\n{{ x"""'),
        f"{R}:4 rule[0].answer, line 2 of the template: the template cannot be read: syntax error: unexpected end of input, expected end of variable block",
    ),
    rules(
        "field",
        RULES + 'field = "qustion"\n',
        f'{R}:5 rule[0].field: there is no text field "qustion" in the input; did you mean "question"?',
    ),
    rules(
        "extract hides an input",
        '[extract]\nquestion = "x"\n' + RULES,
        f"{R}:2 extract.question: `question` is an input or a word of Mainstay's; choose another name",
    ),
    rules(
        "group hides an input",
        RULES.replace('"x"', '"(?P<question>x)"'),
        f"{R}:3 rule[0].matches: the group `question` would hide what has that name already",
    ),
    feature(
        "text where JSON is due",
        FEATURE[FEATURE.index(MODEL) :],
        f'rules = "rules.toml"\n[[ladder]]\n{DATA}',
        f'{R}:4 rule[0].answer: the answer has a schema, so what a rule says has to be JSON, whatever stands in the input\n  next: write texts as JSON: "note": {{{{ question | tojson }}}}',
        rules_toml=RULES,
        a_json="{}",
    ),
    feature(
        "input that could break out of its JSON",
        FEATURE[FEATURE.index(MODEL) :],
        f'rules = "rules.toml"\n[[ladder]]\n{DATA}',
        f'{R}:4 rule[0].answer: the answer has a schema, so what a rule says has to be JSON, whatever stands in the input\n  next: write texts as JSON: "note": {{{{ question | tojson }}}}',
        rules_toml=RULES.replace('"y"', """'{"a": "{{ question }}"}'"""),
        a_json="{}",
    ),
]

CALLS = [
    call("no such function", "def g(question): pass", f'{F}:8 ladder[0].call: "a.py" holds no `f`; known: g'),
    call(
        "no parameter for the input",
        "def f(): pass",
        f"{F}:8 ladder[0].call: \"a.py:f\" cannot be called with the input (question): got an unexpected keyword argument 'question'",
    ),
    call(
        "a parameter too many",
        "def f(question, other): pass",
        f"{F}:8 ladder[0].call: \"a.py:f\" cannot be called with the input (question): missing a required argument: 'other'",
    ),
    call("no function", "f = 3", f'{F}:8 ladder[0].call: "a.py:f" is not a function'),
    call(
        "not Python",
        "def f(question: pass",
        f'{F}:8 ladder[0].call: "a.py:f" cannot be loaded: SyntaxError: invalid syntax (a.py, line 1)',
    ),
    call(
        "import",
        "import nosuchpackage",
        f"{F}:8 ladder[0].call: \"a.py:f\" cannot be loaded: ModuleNotFoundError: No module named 'nosuchpackage'",
    ),
    call("raises", "1 / 0", f'{F}:8 ladder[0].call: "a.py:f" cannot be loaded: ZeroDivisionError: division by zero'),
    call(
        "an attribute that is missing inside",
        "import json\njson.nope",
        f"{F}:8 ladder[0].call: \"a.py:f\" cannot be loaded: AttributeError: module 'json' has no attribute 'nope'",
    ),
    call("ends the process", "raise SystemExit(3)", f'{F}:8 ladder[0].call: "a.py:f" cannot be loaded: SystemExit: 3'),
    feature(
        "package",
        MODEL,
        'call = "nosuchpackage.x:f"',
        f"{F}:8 ladder[0].call: \"nosuchpackage.x:f\" cannot be loaded: ModuleNotFoundError: No module named 'nosuchpackage'",
    ),
]

KEY = "sk-abcdefghijklmnopqrstuvwx"
SECRETS = [
    settings("key", '"scripted"', f'"openai"\nkey = "{KEY}"', f"{M}:3 models.small.key: {SECRET}"),
    settings("key as a variable", '"scripted"', f'"openai"\nkey = "env:{KEY}"', f"{M}:3 models.small.key: {SECRET}"),
    settings(
        "header by name",
        '"scripted"',
        '"openai"\nheaders = { Authorization = "abc" }',
        f"{M}:3 models.small.headers.Authorization: {SECRET}",
    ),
    settings(
        "header by look",
        '"scripted"',
        f'"openai"\nheaders = {{ X-Auth = "Bearer {KEY}" }}',
        f"{M}:3 models.small.headers.X-Auth: {SECRET}",
    ),
    settings(
        "query", '"scripted"', f'"openai"\nquery = {{ "api-key" = "{KEY}" }}', f"{M}:3 models.small.query.api-key: {SECRET}"
    ),
    settings(
        "options",
        '"scripted"',
        f'"openai"\noptions = {{ a = [{{ password = "{KEY}" }}] }}',
        f"{M}:3 models.small.options.a[0].password: {SECRET}",
    ),
    settings(
        "user in an address", '"scripted"', f'"openai"\nurl = "https://me:{KEY}@host/v1"', f"{M}:3 models.small.url: {SECRET}"
    ),
    settings(
        "query of an address", '"scripted"', '"openai"\nurl = "https://host/v1?key=abcd"', f"{M}:3 models.small.url: {SECRET}"
    ),
    settings(
        "variable not set",
        '"scripted"',
        '"openai"\nkey = "env:MY_KEY"',
        f"{M}:3 models.small.key: the environment variable MY_KEY is not set; set it, or write `optional = true` to go without this model\n  next: export MY_KEY=…",
    ),
]

NEAR = [
    added(
        "near without a cache",
        '[cache]\nnear = "auto"\n',
        f'{F}:14 cache.near: `near` needs a cache, and nothing is kept\n  next: write keep = "1h" beside it',
    ),
    added(
        "ahead without a cache",
        "[cache]\nahead = 50\n",
        f'{F}:14 cache.ahead: `ahead` needs a cache, and nothing is kept\n  next: write keep = "1h" beside it',
    ),
    settings(
        "near of plain models",
        "[sources",
        '[plain.cache]\nnear = "auto"\n[sources',
        f"{M}:5 plain.cache.near: `near` is for features: what a plain model is asked is a conversation",
    ),
]

NOT_YET = [
    feature("reviewed", "deadline", 'delivery = "reviewed"\ndeadline', f'{F}:2 delivery: delivery = "reviewed" {EARLY}'),
]

ALL = {
    "unknown key": UNKNOWN_KEYS,
    "wrong value": WRONG_VALUES,
    "missing": MISSING,
    "guard": GUARDS,
    "file": FILES_AS_SUCH,
    "prompt": PROMPTS,
    "ladder": LADDERS,
    "schema": SCHEMAS,
    "rules": RULES_FILES,
    "call": CALLS,
    "secret": SECRETS,
    "near": NEAR,
    "not yet": NOT_YET,
}


def write(root: Path, edits: dict[str, Any]) -> Path:
    """The project with the edits, in a folder."""
    files: dict[str, Any] = {**FILES}
    for name, edit in edits.items():
        if isinstance(edit, tuple):
            old, new = edit
            assert old in FILES[name], f"{old!r} is not in {name}"
            files[name] = FILES[name].replace(old, new)
        else:
            files[name] = edit
    for name, content in files.items():
        if content is not None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def error_of(root: Path, environ: dict[str, str] | None = None) -> str:
    """The whole error that opening the project gives, without the temporary folder's name."""
    with pytest.raises(ConfigError) as caught:
        mainstay.open(root, environ=environ or {}, dev=True).close_sync()
    return str(caught.value).replace(f"{root}/mainstay.toml", M).replace(str(root), "ROOT")


@pytest.mark.parametrize("slip", [pytest.param(s, id=f"{kind}: {s.name}") for kind, slips in ALL.items() for s in slips])
def test_a_slip_is_named_exactly(slip, tmp_path):
    """File, line, key path, what was expected, the nearest right word, and the next thing to type: the whole sentence."""
    assert error_of(write(tmp_path, slip.edits)) == slip.says


def test_no_slip_leaks_a_secret(tmp_path):
    """An error about a secret in a file does not repeat it, on the screen or in a log."""
    for i, slip in enumerate(SECRETS):
        assert KEY not in error_of(write(tmp_path / str(i), slip.edits))
    unquoted = write(tmp_path / "unquoted", {M: SETTINGS + f'[models.b]\nprovider = "openai"\nkey = {KEY}\n'})
    assert KEY not in error_of(unquoted)


def test_of_several_slips_the_same_one_is_named_each_time(tmp_path):
    """The first is enough, but it does not depend on the order in which a set happens to be walked through."""
    root = write(tmp_path, {P: "{{ zeta }} {{ alpha }} {{ mu }}", F: ('"2s"', '"2s"\nstale = 1')})
    assert error_of(root).startswith(f"{F}:3 stale: unknown key")
    write(root, {P: "{{ zeta }} {{ alpha }} {{ mu }}"})
    assert f"{P}:1: nothing gives the variable `alpha`" in error_of(root)


def test_a_feature_may_not_have_the_name_of_a_model(tmp_path):
    """The chat door could not tell which of them is meant."""
    root = write(tmp_path, {M: SETTINGS + '[models.answers]\nprovider = "scripted"\n'})
    assert (
        error_of(root) == f'{M}:6 models.answers: "answers" is the name of a feature and of a model\n  next: rename one of them'
    )


def test_a_link_out_of_the_folder_is_outside(tmp_path):
    """A symbolic link is followed before the folder's border is checked."""
    root = write(tmp_path / "project", {P: None})
    (tmp_path / "secret.md").write_text("{{ question }}")
    os.symlink(tmp_path / "secret.md", root / P)
    assert error_of(root) == f'{F}:9 ladder[0].prompt: the file "prompt.md" is outside the feature\'s folder'
    (root / P).unlink()
    os.symlink(root / P, root / P)
    assert "cannot be read" in error_of(root)


def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path):
    """Opening a pipe would wait for ever for somebody to write."""
    root = write(tmp_path, {P: None})
    os.mkfifo(root / P)
    assert error_of(root).startswith(f'{F}:9 ladder[0].prompt: the file "prompt.md" is missing')


def test_files_from_windows_are_read_as_they_are_meant(tmp_path):
    """A byte order mark and Windows' line ends change nothing: roles are seen, and lines count the same."""
    mark = b"\xef\xbb\xbf"
    windows = {F: FEATURE, M: SETTINGS, P: "[system]\nBe kind.\n[user]\n{{ question }}\n"}
    root = write(tmp_path, {name: mark + text.replace("\n", "\r\n").encode() for name, text in windows.items()})
    with mainstay.open(root, environ={}, dev=True) as app:
        assert app.run_sync("answers", question="Open?").text == "Open?"
        (sent,) = app.features.ready["answers"].rungs[0].models[0].provider.requests
    assert [(m.role, m.text) for m in sent.messages] == [("system", "Be kind."), ("user", "Open?")]
    write(root, {F: mark + FEATURE.replace("deadline", "deadlin").replace("\n", "\r\n").encode()})
    assert error_of(root).startswith(f"{F}:2 deadlin: unknown key")


def test_a_variable_that_is_not_set_is_named_with_the_nearest_that_is(tmp_path):
    """A typo in a variable's name is the commonest reason for a missing key."""
    root = write(tmp_path, {M: ('"scripted"', '"openai"\nkey = "env:OPENAI_KEY"')})
    assert 'OPENAI_KEY is not set (did you mean "OPENAI_API_KEY"?); set it' in error_of(root, {"OPENAI_API_KEY": "x"})


def test_an_optional_model_without_its_key_sleeps(tmp_path):
    """`optional` goes without the model, and its rungs and prompts are still checked."""
    sleeping = {M: ('"scripted"', '"openai"\nkey = "env:MY_KEY"\noptional = true')}
    with mainstay.open(write(tmp_path / "a", sleeping), environ={"MY_KEY": "  "}, dev=True) as app:
        answer = app.run_sync("answers", question="?")
    assert (answer.status, answer.text, answer.reason) == ("degraded", "Sorry.", "model_unavailable")
    assert "nothing gives the variable `x`" in error_of(write(tmp_path / "b", sleeping | {P: "{{ x }}"}))


def test_the_environments_address_is_checked_too(tmp_path):
    """An address without its scheme would fail at the first call, and not at load."""
    root = write(tmp_path, {M: ('"scripted"', '"environment"')})
    said = error_of(root, {"MAINSTAY_MODEL_URL": "localhost:11434"})
    assert said == 'environment MAINSTAY_MODEL_URL: expected an address such as http://127.0.0.1:11434/v1, got "localhost:11434"'


def test_a_part_of_ones_own_that_cannot_be_made_is_named(tmp_path):
    """Whatever a stranger's part raises while it is made is an error of the file that names it, with its line."""
    module = "import os\nclass Broken:\n    def __init__(self): raise KeyError('x')\nclass Silent:\n    hold = 0\n    def check(self, draft): ...\n"
    guards = '[guards]\noutput = ["own_broken_parts:{}"]\n'
    for name, says in [
        ("Broken", "the part cannot be made: KeyError: 'x'"),
        ("Silent", "the guard `own_broken_parts:Silent` has no `async def check(self, draft)`"),
    ]:
        root = write(tmp_path / name, {"own_broken_parts.py": module, F: FEATURE + guards.format(name)})
        assert error_of(root) == f"{F}:14 guards.output[0]: {says}"
        sys.path.remove(str(root))
        del sys.modules["own_broken_parts"]
